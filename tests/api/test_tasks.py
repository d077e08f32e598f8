"""A run's tasks, placed in the tree of its flow."""

from __future__ import annotations

from uuid import UUID

from automata.store.orchestrator_queue import SettleRow
from automata.store.worker_queue import TaskRetry, claim, retry

V1 = "/api/v1"
HTTP = {"type": "http", "config": {"url": "https://example.com"}}
TREE = [
    {"id": "prepare", **HTTP},
    {
        "id": "fan",
        "type": "parallel",
        "depends_on": ["prepare"],
        "branches": [
            {"id": "left", "steps": [{"id": "one", **HTTP}, {"id": "two", **HTTP}]},
            {"id": "right", "steps": [{"id": "three", **HTTP, "name": "Third"}]},
        ],
    },
    {"id": "last", "depends_on": ["fan"], **HTTP},
]


async def tasks_of(site, run, **query):
    answer = await site.http.get(f"{V1}/runs/{run['id']}/tasks", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def settled(run, step, status="SUCCEEDED", outputs=None, error=None):
    return SettleRow(UUID(run["id"]), step, status, None, outputs, error)


async def test_a_run_that_nobody_looked_at_yet_has_no_tasks(site):
    await site.flow()
    assert await tasks_of(site, await site.run()) == []


async def test_tasks_come_in_the_order_of_the_file_with_their_place_in_the_tree(site):
    await site.flow(steps=TREE)
    run = await site.run()
    await site.start(run, "fan.right.three", "fan.left.one")
    await site.apply(settle=[settled(run, "prepare", outputs={"n": 1})])
    found = await tasks_of(site, run)
    assert [(one["step"], one["status"], one["type"], one["parent"], one["plan"]) for one in found] == [
        ("prepare", "SUCCEEDED", "http", None, 0),
        ("fan", "RUNNING", "parallel", None, 1),
        ("fan.left.one", "QUEUED", "http", "fan", 2),
        ("fan.right.three", "QUEUED", "http", "fan", 4),
    ]
    assert found[0]["outputs"] == {"n": 1}
    assert found[3]["name"] == "Third"


async def test_a_parallel_that_is_over_shows_what_was_written_and_no_second_row(site):
    await site.flow(steps=TREE)
    run = await site.run()
    await site.start(run, "last")
    steps = ("prepare", "fan", "fan.left.one", "fan.left.two", "fan.right.three")
    await site.apply(settle=[settled(run, step) for step in steps])
    found = await tasks_of(site, run)
    assert [one["step"] for one in found] == [*steps, "last"]
    assert found[1]["status"] == "SUCCEEDED"


async def test_outputs_can_be_left_out(site):
    await site.flow()
    run = await site.run()
    await site.apply(settle=[settled(run, "fetch", outputs={"big": "x" * 1000})])
    (with_outputs,) = await tasks_of(site, run)
    (without,) = await tasks_of(site, run, outputs="false")
    assert with_outputs["outputs"] == {"big": "x" * 1000}
    assert without["outputs"] is None


async def test_a_waiting_retry_shows_its_attempts_and_when_it_is_due(site):
    await site.flow()
    run = await site.run()
    await site.start(run, "fetch")
    async with site.db.connection() as conn:
        (task,) = await claim(conn, "default", 10, 30, "worker-1")
        failed = TaskRetry(task.run.id, task.step, task.fence, 3_600_000, {"message": "503", "code": "http_status"})
        assert await retry(conn, [failed])
    (found,) = await tasks_of(site, run)
    assert (found["status"], found["attempt"]) == ("QUEUED", 2)
    assert found["due_at"] is not None
    (first,) = found["attempts"]
    assert (first["attempt"], first["error"]["message"]) == (1, "503")
