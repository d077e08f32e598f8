"""Runs are recorded, masked, and done again: on the same flow without a difference, on another one with its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from automata.operations.recordings import recording_document
from automata.report.replay import render_replay, replay_report
from automata.sandbox.case_runner import Flows
from automata.sandbox.compare import Tolerance
from automata.sandbox.recorded import Recorded, read_recording
from automata.sandbox.replay import Replayed, Sides, replay
from automata.steps.registry import load_types
from automata.store.recordings import recorded_ids, recorded_run
from tests.drive import Drive, Json, drive, step
from tests.sandbox.test_agreement import Maker, Server

SECRET = "s3cr3t-value-of-production"
HTTP = {"http": load_types()["http"]}
NO_PAUSE = {"max_attempts": 3, "initial_delay_ms": 0, "jitter": "none"}


class Shop:
    """Answers orders, takes what is saved, and fails the first call to `/flaky`."""

    def __init__(self) -> None:
        self.flaky = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/orders":
            return web.json_response({"items": [{"id": "o-1", "total": 10}], "token": "t0k3n-of-the-shop"})
        if request.path == "/flaky":
            self.flaky += 1
            return web.json_response({"call": self.flaky}, status=503 if self.flaky == 1 else 200)
        return web.json_response({"saved": True}, status=201)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def fetch(**more: Any) -> Json:
    return {
        "id": "fetch",
        "type": "http",
        "config": {"method": "GET", "url": "{{ inputs.base }}/orders?page=1"},
        "outputs": {"first": "{{ response.body['items'][0] }}"},
        **more,
    }


def save(body: Any, *, id: str = "save", after: str = "fetch", **config: Any) -> Json:
    config = {"method": "POST", "url": "{{ inputs.base }}/save", "body": body, **config}
    return {"id": id, "type": "http", "depends_on": [after], "config": config}


TOTAL = {"order": "{{ steps.fetch.outputs.first.id }}", "total": "{{ steps.fetch.outputs.first.total }}"}
INPUTS = {"base": {}}


def flow(*steps: Json, **more: Any) -> Json:
    return {"name": "sync", "inputs": INPUTS, "steps": list(steps), "recording": "on", **more}


async def put(site: Drive, spec: Json) -> tuple[UUID, UUID]:
    rest = {name: value for name, value in spec.items() if name not in ("name", "steps")}
    return await site.put(spec["name"], *spec["steps"], **rest)


async def recording(site: Drive, run: UUID) -> Recorded:
    async with site.db.connection() as conn:
        found = await recorded_run(conn, run)
    assert found
    text = json.dumps(recording_document(found), default=str)
    made, problems = read_recording(text.encode(), "tests/recordings/a.json")
    assert made, problems
    return made


async def recorded_runs(site: Drive, spec: Json, base: str, times: int = 1) -> list[Recorded]:
    made = await put(site, spec)
    runs = [await site.start(made, base=base) for _ in range(times)]
    for run in runs:
        await site.ended(run)
    return [await recording(site, run) for run in runs]


@pytest.fixture
async def base() -> AsyncIterator[str]:
    """The address of a shop."""
    async with Shop().open() as base:
        yield base


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url, HTTP, secrets={"TOKEN": SECRET}) as site:
        yield site


def again(recorded: Recorded, base: Json, head: Json | None, **tolerance: Any) -> Replayed:
    heads = Flows({head["name"]: (head, {})} if head else {})
    sides = Sides(Flows({base["name"]: (base, {})}), heads, Tolerance(**tolerance))
    with ThreadPoolExecutor(1) as thread:  # virtual time needs a loop of its own
        return thread.submit(replay, recorded, sides).result()


def told(base: Json, head: Json, recorded: list[Recorded]) -> dict[str, Any]:
    return replay_report([asdict(again(one, base, head)) for one in recorded], "a" * 40, "b" * 40, ["sync"])


def kinds(result: Replayed) -> list[tuple[str, Any, Any]]:
    assert not result.reason, result.reason
    return [(one["kind"], one["before"], one["after"]) for one in result.differences]


async def test_a_flow_that_did_not_change_does_what_it_did(site: Drive, base: str) -> None:
    spec = flow(fetch(), save(TOTAL), save({"a": 1}, id="flaky", url="{{ inputs.base }}/flaky", after="save"))
    spec["steps"][2]["retry"] = NO_PAUSE

    (one,) = await recorded_runs(site, spec, base)
    assert [(e["step"], e["attempt"], e["response"]["status"]) for e in one.exchanges] == [
        ("fetch", 1, 200),
        ("flaky", 1, 503),
        ("flaky", 2, 200),
        ("save", 1, 201),
    ]
    result = again(one, spec, spec)
    assert (result.reason, result.noise, result.differences, result.uncovered) == ("", (), (), ())


async def test_a_write_with_another_body_is_told_once_for_all_runs(site: Drive, base: str) -> None:
    before, after = flow(fetch(), save(TOTAL)), flow(fetch(), save({**TOTAL, "total": "{{ 2 + 10 }}"}))

    report = told(before, after, await recorded_runs(site, before, base, 3))
    assert not report["ok"]
    (group,) = report["differences"]
    assert (group["kind"], group["runs"], group["of"]) == ("write", 3, 3)
    assert (group["before"], group["after"], group["fails"]) == (10, 12, True)
    assert group["place"].endswith("/save (step save) $.total")
    shown = render_replay(report, "human")
    assert "3 of 3 runs" in shown
    assert "$.total 10 → 12" in shown


async def test_a_time_that_differs_on_the_base_itself_is_noise(site: Drive, base: str) -> None:
    stamped = {**TOTAL, "at": "{{ now() }}", "id": "{{ run.id }}"}
    before, after = flow(fetch(), save(stamped)), flow(fetch(), save({**stamped, "at": "{{ now() }}!"}))

    report = told(before, after, await recorded_runs(site, before, base))
    assert report["differences"] == []
    assert [group["place"].rpartition(" ")[2] for group in report["noise"]] == ["$.at", "$.id"]
    assert report["summary"]["noise"] == 2
    assert "2 differences of the base to itself ignored as noise" in render_replay(report, "human")


async def test_a_second_write_is_uncovered_and_fails(site: Drive, base: str) -> None:
    before = flow(fetch(), save(TOTAL))
    after = flow(fetch(), save(TOTAL), save(TOTAL, id="again", after="save"))

    report = told(before, after, await recorded_runs(site, before, base))
    (one,) = report["uncovered"]
    assert (one["runs"], one["fails"]) == (1, True)
    assert "(step again)" in one["place"]
    assert not report["ok"]


async def test_a_second_read_is_answered_as_the_first_one_was(site: Drive, base: str) -> None:
    before = flow(fetch(), save(TOTAL))
    after = flow(fetch(), fetch(id="twice", depends_on=["fetch"]), save(TOTAL, after="twice"))

    (one,) = await recorded_runs(site, before, base)
    result = again(one, before, after)
    assert kinds(result) == [("read", "(nothing)", "sent"), ("step", "(nothing)", "SUCCEEDED")]
    report = replay_report([asdict(result)], "a", "b", ["sync"])
    assert report["ok"], "more reads and steps are told, and fail nothing"


async def test_no_evidence_is_never_green(site: Drive, base: str) -> None:
    before, other = flow(fetch(), save(TOTAL)), flow(fetch(), save(TOTAL, method="PUT"))

    (one,) = await recorded_runs(site, before, base)
    result = again(one, other, before)
    assert result.reason.startswith("the base sends what was not recorded: PUT ")
    report = replay_report([asdict(result)], "a", "b", ["sync"])
    assert (report["ok"], report["summary"]["unusable"]) == (False, 1)
    assert not replay_report([], "a", "b", ["sync"])["ok"]
    assert replay_report([], "a", "b", [])["ok"], "where nothing changed there is nothing to prove"


async def test_a_branch_that_refuses_what_production_was_given_differs(site: Drive, base: str) -> None:
    before = flow(fetch(), save(TOTAL))
    after = flow(fetch(), save(TOTAL), inputs={**INPUTS, "needed": {"required": True}})

    (one,) = await recorded_runs(site, before, base)
    ((kind, was, now),) = kinds(again(one, before, after))
    assert (kind, was) == ("status", "SUCCEEDED")
    assert "needed" in now
    assert again(one, before, None).reason == "the flow is gone"


async def test_a_flow_that_was_renamed_is_still_itself(site: Drive, base: str) -> None:
    before = flow(fetch(), save(TOTAL))
    after = {**flow(fetch(), save({"order": "x"})), "name": "sync-all", "renamed_from": "sync"}

    (one,) = await recorded_runs(site, before, base)
    assert ("write", "o-1", "x") in kinds(again(one, before, after))


async def test_what_the_policy_calls_no_difference_is_none(site: Drive, base: str) -> None:
    before = flow(fetch(), save({"n": 100, "who": "a", "list": [1, 2]}))
    after = flow(fetch(), save({"n": 101, "who": "b", "list": [2, 1]}))

    (one,) = await recorded_runs(site, before, base)
    assert len(again(one, before, after).differences) == 4
    result = again(one, before, after, ignore=("$.who",), unordered=("$.list",), number=0.02)
    assert result.differences == ()


async def test_people_and_other_flows_answer_as_they_did(site: Drive, base: str) -> None:
    child = {
        "name": "child",
        "inputs": {"n": {"type": "integer"}},
        "steps": [step("a", type="transform", config={"mappings": {}})],
    }
    child["outputs"] = {"twice": "{{ inputs.n * 2 }}"}
    call = {"id": "call", "type": "flow", "config": {"flow": "child", "inputs": {"n": 21}}}
    done = {"type": "transform", "config": {"mappings": {"n": "{{ steps.call.outputs.twice }}"}}}
    before = flow(call, {"id": "t", "depends_on": ["call"], **done}, outputs={"n": "{{ steps.t.outputs.n }}"})
    more = {**call, "config": {"flow": "child", "inputs": {"n": 22}}}
    after = {**before, "steps": [more, before["steps"][1]]}

    await put(site, child)
    (one,) = await recorded_runs(site, before, base)
    assert one.outputs == {"n": 42}
    assert kinds(again(one, before, before)) == []
    assert kinds(again(one, before, after)) == [("write", 21, 22)], "what a flow is started with is a write"


async def test_no_secret_is_stored_and_a_replay_needs_none(site: Drive, base: str) -> None:
    config = {
        "url": "{{ inputs.base }}/save?api_key={{ secrets.TOKEN }}&page=2",
        "headers": {"Authorization": "Bearer {{ secrets.TOKEN }}", "X-Tenant": "acme"},
        "body": {
            "note": "the token is {{ secrets.TOKEN }}",
            "password": "hunter22",
            "iban": "DE1",
            "pin": "{{ inputs.pin }}",
        },
    }
    spec = flow(
        fetch(),
        save(None) | {"config": {"method": "POST", **config}},
        inputs={**INPUTS, "pin": {"secret": True}},
        recording={"fields": ["IBAN", "x-tenant"]},
    )

    run = await site.start(await put(site, spec), base=base, pin="pin-4711")
    await site.ended(run)
    kept = json.dumps(await site.value("SELECT json_agg(exchanges) FROM recordings"))
    for secret in (SECRET, "hunter22", "DE1", "acme", "t0k3n-of-the-shop", "pin-4711"):
        assert secret not in kept
    assert "page=2" in kept
    one = await recording(site, run)
    assert "pin-4711" not in json.dumps(one.inputs)
    assert kinds(again(one, spec, spec)) == []


async def test_only_runs_that_went_their_whole_way_once_are_evidence(site: Drive, base: str) -> None:
    silent = await put(site, {**flow(fetch()), "name": "silent", "recording": "off"})
    await site.ended(await site.start(silent, base=base))
    (one,) = await recorded_runs(site, {**flow(fetch()), "name": "once"}, base)
    async with site.db.connection() as conn:
        assert await recorded_ids(conn, silent[0], 20) == []
        owner = await site.value("SELECT flow_id FROM runs WHERE id = %s", UUID(one.id))
        assert [str(id) for id, _, _ in await recorded_ids(conn, owner, 20)] == [one.id]
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO run_attempts (run_id, attempt, status, started_at, finished_at)"
            " VALUES (%s, 1, 'FAILED', now(), now())",
            [one.id],
        )
    async with site.db.connection() as conn:
        assert await recorded_ids(conn, owner, 20) == []
        assert await recorded_run(conn, UUID(one.id)) is None


GENERATED = 80


async def test_generated_flows_do_again_what_they_did(database_url: str) -> None:
    made = [Maker(seed).make() for seed in range(10_000, 10_000 + GENERATED)]
    server = Server({path: script for one in made for path, script in one.answers.items()})
    recorded = []
    async with server.running() as base, drive(database_url, HTTP, poll_sec=0.2) as site:
        for one in made:
            run = await site.start(await put(site, {**one.spec, "recording": "on"}), base=base, n=5)
            await site.ended(run)
            recorded.append(await recording(site, run))
    for one, run in zip(made, recorded, strict=True):
        spec = {**one.spec, "recording": "on"}
        result = again(run, spec, spec)
        assert (result.reason, result.differences, result.uncovered) == ("", (), ()), json.dumps(spec)
    assert {run.status for run in recorded} == {"SUCCEEDED", "FAILED"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"{", "not JSON"),
        (b"[]", "mapping"),
        (b'{"version": 2}', "version"),
        (b'{"version": 1, "flow": "a"}', "run"),
    ],
)
def test_a_file_that_is_no_recording_is_told_so(text: bytes, word: str) -> None:
    made, problems = read_recording(text, "tests/recordings/a.json")
    assert made is None
    assert any(word in str(one) for one in problems), problems
