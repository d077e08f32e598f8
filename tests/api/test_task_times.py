"""When steps began and how long they took: as a whole, whatever was written with the part that ended last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from automata.operations.tasks import list_run_tasks
from tests.api.conftest import Site

V1 = "/api/v1"
PLAY = {"type": "transform", "config": {"mappings": {"a": 1}}}


def fan(id: str, **branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": id,
        "type": "parallel",
        "branches": [{"id": name, "steps": steps} for name, steps in branches.items()],
    }


def each(id: str) -> dict[str, Any]:
    return {"id": id, "foreach": [1, 2, 3], **PLAY}


async def ended(site: Site, run: dict[str, Any], step: str, queued: float, began: float, end: float) -> None:
    """Write a step's row: seconds ago of when it was queued, began and ended."""
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO tasks (run_id, step, status, queued_at, started_at, finished_at)"
            " VALUES (%s, %s, 'SUCCEEDED', now() - make_interval(secs => %s), now() - make_interval(secs => %s),"
            " now() - make_interval(secs => %s))",
            [UUID(run["id"]), step, queued, began, end],
        )


async def tried(
    site: Site, run: dict[str, Any], step: str, attempt: int, began: float, end: float, again: float
) -> None:
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO task_attempts (run_id, step, attempt, started_at, finished_at, retry_at)"
            " VALUES (%s, %s, %s, now() - make_interval(secs => %s), now() - make_interval(secs => %s),"
            " now() - make_interval(secs => %s))",
            [UUID(run["id"]), step, attempt, began, end, again],
        )


async def tasks_of(site: Site, run: dict[str, Any]) -> dict[str, Any]:
    answer = await site.http.get(f"{V1}/runs/{run['id']}/tasks")
    assert answer.status_code == 200, answer.text
    return {task["step"]: task for task in answer.json()["items"]}


def seconds(task: dict[str, Any], field: str = "started_at") -> float:
    """How long before its end the step began."""
    span = datetime.fromisoformat(task["finished_at"]) - datetime.fromisoformat(task[field])
    return round(span / timedelta(seconds=1), 1)


@pytest.mark.parametrize(
    ("steps", "inside", "group"),
    [
        ([fan("checks", a=[{"id": "x", **PLAY}], b=[{"id": "y", **PLAY}])], ("checks.a.x", "checks.b.y"), "checks"),
        ([fan("out", a=[fan("in", b=[{"id": "x", **PLAY}])])], ("out.a.in.b.x",), "out.a.in"),
        ([fan("out", a=[fan("in", b=[{"id": "x", **PLAY}])])], ("out.a.in.b.x",), "out"),
        ([each("load")], ("load[0]", "load[1]", "load[2]"), "load"),
        ([fan("out", a=[each("load")])], ("out.a.load[0]", "out.a.load[2]"), "out.a.load"),
        ([fan("out", a=[each("load")])], ("out.a.load[0]", "out.a.load[2]"), "out"),
    ],
)
async def test_a_group_begins_when_the_first_step_inside_it_is_queued(
    site: Site, steps: list[dict[str, Any]], inside: tuple[str, ...], group: str
) -> None:
    """Whoever writes the end of a group knows when the steps began that ended with it, and no others."""
    await site.flow(steps=steps)
    run = await site.run()
    for place, step in enumerate(inside):
        await ended(site, run, step, queued=9 - place, began=8.5 - place, end=3)
    await ended(site, run, group, queued=2, began=2, end=2)
    task = (await tasks_of(site, run))[group]
    assert seconds(task) == seconds(task, "queued_at") == 7.0


async def test_a_step_that_is_no_group_keeps_its_times_beside_one_whose_name_begins_alike(site: Site) -> None:
    await site.flow(steps=[each("load"), {"id": "load2", **PLAY}, {"id": "loads", **PLAY}])
    run = await site.run()
    await ended(site, run, "load[0]", queued=9, began=9, end=8)
    await ended(site, run, "load2", queued=4, began=3, end=1)
    assert seconds((await tasks_of(site, run))["load2"]) == 2.0


@pytest.mark.parametrize("part", [{"limit": 3}, {"step": "load"}, {"limit": 3, "outputs": False}])
async def test_what_is_left_out_of_a_list_counts_for_its_group(site: Site, part: dict[str, Any]) -> None:
    await site.flow(steps=[each("load")])
    run = await site.run()
    for item in range(20):
        await ended(site, run, f"load[{item}]", queued=30 - item, began=30 - item, end=5)
    await site.start(run, "load[20]")
    (group,) = [task for task in await list_run_tasks(site.context, UUID(run["id"]), **part) if task["step"] == "load"]
    items = await list_run_tasks(site.context, UUID(run["id"]))
    assert group["status"] == "RUNNING"
    assert group["started_at"] == min(task["started_at"] for task in items if task["started_at"])


async def test_a_group_that_ended_is_not_shown_as_running_where_a_list_is_cut_before_it(site: Site) -> None:
    await site.flow(steps=[each("load"), {"id": "next", "depends_on": ["load"], **PLAY}])
    run = await site.run()
    await ended(site, run, "load[0]", queued=9, began=9, end=8)
    await ended(site, run, "load", queued=-5, began=-5, end=-5)
    await site.start(run, "next")
    tasks = await list_run_tasks(site.context, UUID(run["id"]), limit=1)
    assert [(task["step"], str(task["status"])) for task in tasks] == [("next", "QUEUED")]


async def test_a_retried_step_took_what_all_its_attempts_took(site: Site) -> None:
    await site.flow(steps=[{"id": "pay", **PLAY}])
    run = await site.run()
    await tried(site, run, "pay", 1, began=9, end=8, again=7)
    await tried(site, run, "pay", 2, began=7, end=6, again=4)
    await ended(site, run, "pay", queued=9.5, began=4, end=3)
    task = (await tasks_of(site, run))["pay"]
    assert (seconds(task), seconds(task, "attempt_started_at")) == (6.0, 1.0)


async def test_a_step_that_waits_for_its_next_attempt_has_begun(site: Site) -> None:
    await site.flow(steps=[{"id": "pay", **PLAY}])
    run = await site.run()
    await site.start(run, "pay")
    await tried(site, run, "pay", 1, began=9, end=8, again=-60)
    task = (await tasks_of(site, run))["pay"]
    assert (task["status"], task["attempt_started_at"]) == ("QUEUED", None)
    assert task["started_at"] == task["attempts"][0]["started_at"]


async def test_a_group_of_a_run_that_was_retried_began_with_the_first_attempt(site: Site) -> None:
    await site.flow(steps=[fan("checks", a=[{"id": "x", **PLAY}])])
    run = await site.run()
    await tried(site, run, "checks.a.x", 1, began=9, end=8, again=4)
    await tried(site, run, "checks", 1, began=8, end=8, again=4)
    await ended(site, run, "checks.a.x", queued=4, began=4, end=2)
    await ended(site, run, "checks", queued=2, began=2, end=2)
    group = (await tasks_of(site, run))["checks"]
    assert (group["attempt"], seconds(group), seconds(group, "attempt_started_at")) == (2, 7.0, 2.0)
    assert seconds(group["attempts"][0]) == 1.0


@pytest.mark.parametrize("lane", ["@advance", "default"])
async def test_a_step_that_waits_has_begun_and_one_that_is_queued_has_not(site: Site, lane: str) -> None:
    await site.flow(steps=[{"id": "ask", "type": "approval", "config": {"prompt": "?"}}])
    run = await site.run()
    await site.start(run, "ask")
    async with site.db.transaction() as conn:
        await conn.execute("UPDATE task_queue SET lane = %s WHERE step = 'ask'", [lane])
    task = (await tasks_of(site, run))["ask"]
    waits = lane == "@advance"
    assert (task["status"], task["started_at"] is not None) == ("RUNNING" if waits else "QUEUED", waits)
    assert not waits or task["started_at"] == task["queued_at"]
