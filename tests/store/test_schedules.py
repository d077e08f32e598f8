"""Schedules: what is due next, who may change them, and what a sync leaves alone."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from automata.errors import Conflict, Invalid, Missing
from automata.flow.model import Flow
from automata.store.flows import archive_api_flow, put_api_flow
from automata.store.schedules import (
    create_schedule,
    declare_schedules,
    delete_schedule,
    enable_schedule,
    get_schedule,
    list_schedules,
    update_schedule,
)

DAILY = {"name": "daily", "cron": "0 6 * * *"}
HOURLY = {"name": "hourly", "cron": "0 * * * *"}


async def declared(conn, flow_id, *specs):
    await declare_schedules(conn, {flow_id: specs}, "git")
    return {row.name: row for row in (await list_schedules(conn, flow_id=flow_id)).items}


async def set_next(conn, id, sign):
    """Move the next fire an hour into the past or the future."""
    await conn.execute(f"UPDATE schedules SET next_fire_at = now() {sign} interval '1 hour' WHERE id = %s", [id])
    return (await get_schedule(conn, id)).next_fire_at


async def test_a_new_schedule_is_due_at_its_next_time(conn, make):
    flow_id, _ = await make.flow(conn)
    row = await create_schedule(conn, flow_id, HOURLY)
    assert row.origin == "api"
    assert row.next_fire_at == row.next_fires()[0]
    assert timedelta(0) < row.next_fire_at - row.now <= timedelta(hours=1)
    assert len(row.next_fires(3)) == 3


async def test_a_name_is_used_once_a_flow(conn, make):
    flow_id, _ = await make.flow(conn)
    other, _ = await make.flow(conn, "other")
    await create_schedule(conn, flow_id, HOURLY)
    await create_schedule(conn, other, HOURLY)
    with pytest.raises(Conflict) as caught:
        await create_schedule(conn, flow_id, HOURLY)
    assert caught.value.code == "name_taken"


async def test_what_cannot_be_is_invalid_and_what_is_not_there_missing(conn, make):
    flow_id, _ = await make.flow(conn)
    with pytest.raises(Invalid):
        await create_schedule(conn, flow_id, {"name": "bad", "cron": "61 * * * *"})
    for call in (get_schedule, delete_schedule):
        with pytest.raises(Missing):
            await call(conn, uuid4())


async def test_one_that_never_fires_or_is_off_has_no_next_time(conn, make):
    flow_id, _ = await make.flow(conn)
    never = await create_schedule(conn, flow_id, {"name": "never", "cron": "0 0 30 2 *"})
    off = await create_schedule(conn, flow_id, {**HOURLY, "enabled": False})
    assert never.next_fire_at is None
    assert (off.enabled, off.next_fire_at, off.next_fires()) == (False, None, [])


async def test_switching_off_and_on_counts_from_now_and_twice_changes_nothing(conn, make):
    flow_id, _ = await make.flow(conn)
    id = (await create_schedule(conn, flow_id, HOURLY)).id
    past = await set_next(conn, id, "-")
    assert (await enable_schedule(conn, id, True)).next_fire_at == past
    assert (await enable_schedule(conn, id, False)).next_fire_at is None
    row = await enable_schedule(conn, id, True)
    assert row.next_fire_at > row.now


async def test_what_was_switched_off_stays_off_until_its_lines_in_the_file_change(conn, make):
    flow_id, _ = await make.flow(conn)
    id = (await declared(conn, flow_id, DAILY, HOURLY))["daily"].id
    await enable_schedule(conn, id, False)
    rows = await declared(conn, flow_id, DAILY, {**HOURLY, "inputs": {"n": 1}})
    assert not rows["daily"].enabled
    assert rows["daily"].next_fire_at is None
    rows = await declared(conn, flow_id, {**DAILY, "timezone": "Europe/Berlin"})
    assert rows["daily"].enabled
    assert rows["daily"].next_fire_at is not None


async def test_a_fire_that_is_due_survives_a_change_of_the_file(conn, make):
    flow_id, _ = await make.flow(conn)
    id = (await declared(conn, flow_id, HOURLY))["hourly"].id
    past = await set_next(conn, id, "-")
    assert (await declared(conn, flow_id, {**HOURLY, "cron": "30 * * * *"}))["hourly"].next_fire_at == past
    await set_next(conn, id, "+")
    row = (await declared(conn, flow_id, {**HOURLY, "cron": "15 * * * *"}))["hourly"]
    assert row.next_fire_at.minute == 15


async def test_a_schedule_of_git_can_be_switched_but_not_changed_here(conn, make):
    flow_id, _ = await make.flow(conn)
    id = (await declared(conn, flow_id, DAILY))["daily"].id
    for call in (update_schedule(conn, id, HOURLY), delete_schedule(conn, id)):
        with pytest.raises(Conflict) as caught:
            await call
        assert caught.value.code == "git_managed"
    assert not (await enable_schedule(conn, id, False)).enabled


async def test_one_made_by_the_api_can_be_changed_and_deleted_and_a_sync_leaves_it_alone(conn, make):
    flow_id, _ = await make.flow(conn)
    id = (await create_schedule(conn, flow_id, HOURLY)).id
    assert set(await declared(conn, flow_id, DAILY)) == {"daily", "hourly"}
    row = await update_schedule(conn, id, {"name": "other", "cron": "45 * * * *", "timezone": "Asia/Kolkata"})
    assert (row.name, row.schedule.name, row.schedule.timezone) == ("hourly", "hourly", "Asia/Kolkata")
    assert row.next_fire_at.minute == 15
    await delete_schedule(conn, id)
    assert set(await declared(conn, flow_id, DAILY)) == {"daily"}


async def test_a_flow_of_the_api_keeps_what_it_declares_and_drops_what_it_declared(conn, make):
    put = await put_api_flow(conn, Flow.from_spec(make.spec("a", [DAILY, HOURLY])))
    await create_schedule(conn, put.flow.id, {"name": "extra", "interval_sec": 60})
    await put_api_flow(conn, Flow.from_spec(make.spec("a", [HOURLY])))
    rows = (await list_schedules(conn)).items
    assert {(row.name, row.origin) for row in rows} == {("hourly", "api"), ("extra", "api")}
    await archive_api_flow(conn, "a")
    assert [row.next_fire_at for row in (await list_schedules(conn)).items] == [None, None]
    assert [row.next_fires() for row in (await list_schedules(conn)).items] == [[], []]
    await put_api_flow(conn, Flow.from_spec(make.spec("a", [HOURLY])))
    assert all(row.next_fire_at for row in (await list_schedules(conn)).items)


async def test_the_list_goes_by_flow_and_name_in_pages(conn, make):
    for flow in ("b", "a"):
        flow_id, _ = await make.flow(conn, flow)
        await declared(conn, flow_id, HOURLY, DAILY)
    first = await list_schedules(conn, limit=3)
    rest = await list_schedules(conn, limit=3, after=first.next)
    names = [(row.flow_name, row.name) for row in first.items + rest.items]
    assert names == [("a", "daily"), ("a", "hourly"), ("b", "daily"), ("b", "hourly")]
    assert rest.next is None
