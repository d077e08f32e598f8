"""Schedules: all to read, those of the API to write."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

V1 = "/api/v1"
NIGHTLY = {"flow": "orders", "name": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}


async def add(site, **changes):
    return await site.http.post(f"{V1}/schedules", json=NIGHTLY | changes)


async def test_a_schedule_shows_its_next_five_fire_times(site):
    await site.flow()
    made = await add(site)
    assert made.status_code == 201
    shown = (await site.http.get(made.headers["location"])).json()
    assert shown == made.json()
    times = [datetime.fromisoformat(one) for one in shown["next_fires"]]
    assert len(times) == 5
    assert all(later > earlier for earlier, later in pairwise(times))
    assert shown["managed_by"] == "api"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": "99 * * * *"}, "/cron"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"cron": "@reboot"}, "/cron"),
        ({"interval_sec": 60}, "/cron"),
        ({"timezone": "Europe/Berlim"}, "/timezone"),
        ({"timezone": "../../etc/passwd"}, "/timezone"),
        ({"inputs": {"unknown": 1}}, "/inputs/unknown"),
        ({"jitter_sec": -1}, "/jitter_sec"),
        ({"overlap": "never"}, "/overlap"),
        ({"name": "Night ly"}, "/name"),
        ({"color": "red"}, "/color"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_by_the_member_that_is_wrong(site, changes, pointer):
    await site.flow()
    answer = await add(site, **changes)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    assert (await site.http.get(f"{V1}/schedules")).json()["items"] == []


async def test_a_flow_has_one_schedule_of_a_name(site):
    await site.flow()
    await add(site)
    answer = await add(site, cron="0 3 * * *")
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


async def test_replacing_a_schedule_keeps_its_flow_and_its_name(site):
    await site.flow()
    address = (await add(site)).headers["location"]
    changed = NIGHTLY | {"interval_sec": 3600}
    del changed["cron"]
    answer = await site.http.put(address, json=changed)
    assert (answer.status_code, answer.json()["interval_sec"], answer.json()["cron"]) == (200, 3600, None)
    for other in ({"name": "weekly"}, {"flow": "bills"}):
        assert (await site.http.put(address, json=changed | other)).json()["code"] == "name_mismatch"


async def test_a_paused_schedule_has_no_next_fire_until_it_is_resumed(site):
    await site.flow()
    address = (await add(site)).headers["location"]
    for action, fires in (("pause", 0), ("pause", 0), ("resume", 5), ("resume", 5)):
        answer = await site.http.post(f"{address}/{action}")
        assert answer.status_code == 200
        assert (answer.json()["enabled"], len(answer.json()["next_fires"])) == (bool(fires), fires)


async def test_a_deleted_schedule_is_gone(site):
    await site.flow()
    address = (await add(site)).headers["location"]
    assert (await site.http.delete(address)).status_code == 204
    assert (await site.http.get(address)).status_code == 404
    assert (await site.http.delete(address)).status_code == 404


async def test_a_schedule_of_git_is_paused_here_but_written_there(site):
    await site.git_flow("synced", schedules=[{"name": "hourly", "cron": "0 * * * *"}])
    (found,) = (await site.http.get(f"{V1}/schedules")).json()["items"]
    assert found["managed_by"] == "git"
    address = f"{V1}/schedules/{found['id']}"
    body = {"flow": "synced", "name": "hourly", "cron": "0 1 * * *"}
    for answer in (await site.http.put(address, json=body), await site.http.delete(address)):
        assert (answer.status_code, answer.json()["code"]) == (409, "git_managed")
    assert (await site.http.post(f"{address}/pause")).json()["enabled"] is False


async def test_schedules_are_listed_by_flow(site):
    await site.flow("orders")
    await site.flow("bills")
    await add(site)
    await add(site, flow="bills")
    found = (await site.http.get(f"{V1}/schedules", params={"flow": "bills"})).json()["items"]
    assert [one["flow"] for one in found] == ["bills"]
    first = (await site.http.get(f"{V1}/schedules", params={"limit": "1"})).json()
    rest = (await site.http.get(f"{V1}/schedules", params={"cursor": first["next_cursor"]})).json()
    assert [one["flow"] for one in first["items"] + rest["items"]] == ["bills", "orders"]


async def test_an_archived_flow_takes_no_schedule(site):
    await site.flow()
    await site.http.delete(f"{V1}/flows/orders")
    assert (await add(site)).json()["code"] == "flow_archived"
