"""Many runs in one request: each has its verdict, keys hold, and all or none means that."""

from __future__ import annotations

import asyncio

from automata.api.schemas.run_batch_create import RunBatchAnswer
from automata.broker.contract import RUNS_PENDING

V1 = "/api/v1"
BATCH = f"{V1}/runs/batch"
INPUTS = {"n": {"type": "integer", "required": True}}


def run(n: object, **more: object) -> dict[str, object]:
    return {"flow": "orders", "inputs": {"n": n}, **more}


async def count(site) -> int:
    async with site.db.connection() as conn:
        return (await (await conn.execute("SELECT count(*) FROM runs")).fetchone())[0]


async def test_all_are_started_in_the_order_asked_for_and_rung_for(site):
    await site.flow(inputs=INPUTS)
    with site.broker.listen(RUNS_PENDING) as bell:
        answer = await site.http.post(BATCH, json={"runs": [run(n) for n in range(1000)]})
        assert await bell.wait(0)
    assert answer.status_code == 200
    told = RunBatchAnswer.model_validate(answer.json())
    assert (told.created, told.existing, told.refused) == (1000, 0, 0)
    assert [item.index for item in told.items] == list(range(1000))
    for n in (0, 499, 999):
        found = await site.http.get(f"{V1}/runs/{told.items[n].id}")
        assert found.json()["inputs"] == {"n": n}


async def test_what_cannot_be_started_is_told_by_index_and_holds_up_no_other(site):
    await site.flow(inputs=INPUTS)
    runs = [
        run(1),
        run("x"),
        {"flow": "order"},
        run(2, version=9),
        run(3, idempotency_key="not visible"),
        run(4, idempotency_key="hook:x"),
        run(5),
    ]
    told = RunBatchAnswer.model_validate((await site.http.post(BATCH, json={"runs": runs})).json())
    assert (told.created, told.refused) == (2, 5)
    codes = [item.error and item.error.code for item in told.items]
    bad_key = "invalid_idempotency_key"
    assert codes == [None, "invalid_input", "not_found", "not_found", bad_key, bad_key, None]
    refused = told.items[1].error
    assert refused is not None
    assert [one["pointer"] for one in refused.errors] == ["/inputs/n"]
    assert await count(site) == 2


async def test_a_key_gives_the_same_run_again_within_a_batch_and_between_two(site):
    await site.flow(inputs=INPUTS)
    runs = [run(1, idempotency_key="a"), run(1, idempotency_key="a"), run(2, idempotency_key="a"), run(2)]
    told = RunBatchAnswer.model_validate((await site.http.post(BATCH, json={"runs": runs})).json())
    assert (told.created, told.existing, told.refused) == (2, 1, 1)
    assert told.items[0].id == told.items[1].id
    error = told.items[2].error
    assert error is not None
    assert error.code == "idempotency_mismatch"
    again = RunBatchAnswer.model_validate((await site.http.post(BATCH, json={"runs": runs[:1]})).json())
    assert (again.created, again.existing, again.items[0].id) == (0, 1, told.items[0].id)
    assert await count(site) == 2


async def test_two_batches_with_the_same_keys_in_opposite_order_start_each_run_once(site):
    await site.flow(inputs=INPUTS)
    runs = [run(n, idempotency_key=f"k{n}") for n in range(300)]
    both = (site.http.post(BATCH, json={"runs": some}) for some in (runs, runs[::-1]))
    told = [RunBatchAnswer.model_validate(answer.json()) for answer in await asyncio.gather(*both)]
    assert sum(one.created for one in told) == await count(site) == 300
    assert sum(one.existing for one in told) == 300


async def test_all_or_none_starts_none_when_one_is_refused_before_or_by_the_database(site):
    await site.flow(inputs=INPUTS)
    await site.http.post(BATCH, json={"runs": [run(1, idempotency_key="a")]})
    for bad, pointer in ((run("x"), "/runs/1/inputs/n"), (run(2, idempotency_key="a"), "/runs/1")):
        answer = await site.http.post(BATCH, json={"runs": [run(1), bad], "atomic": True})
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["code"] == "batch_refused"
        assert [one["pointer"] for one in problem["errors"]] == [pointer]
        assert await count(site) == 1
    answer = await site.http.post(BATCH, json={"runs": [run(1), run(2)], "atomic": True})
    assert answer.json()["created"] == 2


async def test_a_batch_is_bounded_and_its_shape_checked(site):
    await site.flow(inputs=INPUTS)
    for body, pointer in (
        ({"runs": []}, "/runs"),
        ({"runs": [run(1)] * 1001}, "/runs"),
        ({"runs": [run(1), {"flow": "orders", "input": {}}]}, "/runs/1/input"),
        ({"runs": [run(1, idempotency_key="k" * 256)]}, "/runs/0/idempotency_key"),
        ({}, "/runs"),
    ):
        answer = await site.http.post(BATCH, json=body)
        assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)
    assert await count(site) == 0
