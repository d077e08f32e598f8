"""Runs that a schedule starts on request: now, and for fire times that have passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from automata.store.flow_writes import archive_flows
from automata.store.new_runs import NewRun, create_runs

V1 = "/api/v1"
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


async def hourly(site, **changes):
    flow = await site.flow(inputs={"n": {"type": "integer", "default": 1}})
    body = {"flow": "orders", "name": "hourly", "cron": "0 * * * *", "inputs": {"n": 7}} | changes
    made = await site.http.post(f"{V1}/schedules", json=body)
    assert made.status_code == 201, made.text
    return flow, made.json()["id"]


async def backfill(site, schedule, **body):
    return await site.http.post(f"{V1}/schedules/{schedule}/backfill", json=DAY | body)


async def runs_of(site, **query):
    return (await site.http.get(f"{V1}/runs", params={"limit": 200, **query})).json()["items"]


async def test_triggering_starts_a_run_now_with_the_schedule_s_inputs(site):
    _, schedule = await hourly(site)
    await site.http.post(f"{V1}/schedules/{schedule}/pause")
    made = await site.http.post(f"{V1}/schedules/{schedule}/trigger")
    assert made.status_code == 201
    run = (await site.http.get(made.headers["location"])).json()
    assert (run["id"], run["trigger"], run["inputs"]) == (made.json()["id"], "manual", {"n": 7})
    assert run["scheduled_for"] is None


async def test_triggering_twice_with_one_key_is_one_run(site):
    _, schedule = await hourly(site)
    answers = [
        await site.http.post(f"{V1}/schedules/{schedule}/trigger", headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]
    assert [one.status_code for one in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    assert len(await runs_of(site)) == 1


async def test_a_backfill_starts_one_run_for_each_fire_time_and_none_a_second_time(site):
    _, schedule = await hourly(site)
    first = (await backfill(site, schedule)).json()
    assert (first["created"], first["existing"], len(first["fires"]), first["next_from"]) == (24, 0, 24, None)
    assert first["fires"][0] == "2026-01-01T00:00:00Z"
    again = (await backfill(site, schedule)).json()
    assert (again["created"], again["existing"]) == (0, 24)
    runs = await runs_of(site, trigger="backfill")
    assert {run["scheduled_for"] for run in runs} == set(first["fires"])
    assert len(runs) == 24


async def test_what_the_scheduler_started_is_told_as_existing(site):
    flow, schedule = await hourly(site)
    async with site.db.transaction() as conn:
        fire = datetime(2026, 1, 1, 5, tzinfo=UTC)
        cursor = await conn.execute("SELECT current_version_id FROM flows WHERE id = %s", [flow["id"]])
        (version,) = await cursor.fetchone()
        run = NewRun(UUID(flow["id"]), version, {}, "schedule", schedule_id=UUID(schedule), scheduled_for=fire)
        await create_runs(conn, [run])
    for dry_run, created in [(True, 0), (False, 23)]:
        answer = (await backfill(site, schedule, dry_run=dry_run)).json()
        assert (answer["created"], answer["existing"], len(answer["fires"])) == (created, 1, 24)


async def test_a_dry_run_starts_nothing(site):
    _, schedule = await hourly(site)
    answer = (await backfill(site, schedule, dry_run=True)).json()
    assert (answer["created"], answer["existing"], len(answer["fires"])) == (0, 0, 24)
    assert await runs_of(site) == []


async def test_a_long_backfill_says_where_to_go_on(site):
    _, schedule = await hourly(site)
    since, created = DAY["from"], 0
    for expected in ("2026-01-01T10:00:00Z", "2026-01-01T20:00:00Z", None):
        answer = (await backfill(site, schedule, limit=10, **{"from": since})).json()
        assert answer["next_from"] == expected
        since, created = expected, created + answer["created"]
    assert created == 24


async def test_a_backfill_never_reaches_into_the_future(site):
    _, schedule = await hourly(site, cron="* * * * *")
    now = datetime.now(UTC)
    span = {"from": (now - timedelta(minutes=5)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
    fires = (await backfill(site, schedule, **span)).json()["fires"]
    assert len(fires) in (5, 6)
    span = {"from": (now + timedelta(days=1)).isoformat(), "to": (now + timedelta(days=2)).isoformat()}
    assert (await backfill(site, schedule, **span)).json()["fires"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"to": "2026-01-01T00:00:00Z"}, "/to"),
        ({"to": "2036-01-10T00:00:00Z"}, "/to"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "/from"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "/to"),
        ({"from": "2026-01-01T00:00:00"}, "/from"),
        ({"from": None}, "/from"),
        ({"limit": 0}, "/limit"),
        ({"limit": 1001}, "/limit"),
        ({"limit": "10"}, "/limit"),
        ({"dry_run": "yes"}, "/dry_run"),
        ({"until": "2026-01-02T00:00:00Z"}, "/until"),
    ],
)
async def test_a_backfill_that_cannot_be_is_refused_by_the_member_that_is_wrong(site, body, pointer):
    _, schedule = await hourly(site)
    answer = await backfill(site, schedule, **body)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text
    assert await runs_of(site) == []


async def test_an_archived_flow_is_neither_triggered_nor_filled(site):
    _, schedule = await hourly(site)
    async with site.db.transaction() as conn:
        await archive_flows(conn, None, ["orders"])
    for path, body in (("trigger", None), ("backfill", DAY)):
        answer = await site.http.post(f"{V1}/schedules/{schedule}/{path}", json=body)
        assert answer.status_code == 409, answer.text


async def test_inputs_that_no_longer_fit_are_refused_when_asked_for_now(site):
    _, schedule = await hourly(site)
    await site.flow(inputs={"n": {"type": "string"}})
    for path, body in (("trigger", None), ("backfill", DAY)):
        answer = await site.http.post(f"{V1}/schedules/{schedule}/{path}", json=body)
        assert (answer.status_code, answer.json()["pointer"]) == (422, "/inputs/n"), answer.text
    assert await runs_of(site) == []


async def test_a_schedule_that_is_not_there_is_missing(site):
    for schedule in ("00000000-0000-7000-8000-000000000000", "hourly"):
        assert (await site.http.post(f"{V1}/schedules/{schedule}/trigger")).status_code == 404
        assert (await backfill(site, schedule)).status_code == 404
