"""What attempts say is kept with them, masked and bounded; who says nothing costs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from automata.api.app import create_app
from automata.settings import Settings
from automata.steps.attempt_log import MAX_BYTES, MAX_LINES, AttemptLog, LoggedTransport
from automata.steps.contract import HttpRequest, HttpResponse, Outcome, StepContext, TransportError
from automata.store.task_logs import TaskLog, list_logs, save_logs
from tests.drive import FLAKY, Drive, drive, step
from tests.services.test_recordings import HTTP, Shop

SECRET = "s3cr3t/of the test"


class Chatty:
    """A step type of another package that talks, and may talk too much."""

    name, kind, scope, config_schema = "chatty", "work", "result", {}

    async def execute(self, config: Any, ctx: StepContext) -> Outcome:
        for number in range(config.get("lines", 1)):
            ctx.log(f"line {number} of {ctx.step}, {config.get('say', '')}")
        return Outcome(outputs={})


@pytest.fixture
async def base() -> AsyncIterator[str]:
    """The address of a shop."""
    async with Shop().open() as base:
        yield base


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url, {**HTTP, "chatty": Chatty()}, {"TOKEN": SECRET}) as site:
        yield site


async def said(site: Drive, run: UUID, step: str | None = None) -> dict[tuple[str, int], list[dict[str, Any]]]:
    async with site.db.connection() as conn:
        found = await list_logs(conn, run, step=step)
    return {(one.step, one.attempt): one.lines for one in found.items}


async def test_requests_retries_and_what_a_step_type_says_are_kept_and_silence_is_not(site: Drive, base: str) -> None:
    retry = {"max_attempts": 3, "initial_delay_ms": 0, "jitter": "none"}
    steps = (
        {
            "id": "call",
            "type": "http",
            "retry": retry,
            "config": {"url": "{{ inputs.base }}/flaky?{{ secrets.TOKEN }}"},
        },
        {"id": "talk", "type": "chatty", "config": {"say": "{{ secrets.TOKEN }}"}},
        step("silent"),
        step("fails", retry=retry),
    )

    site.play.script["fails"] = [FLAKY]
    run = await site.start(await site.put("talks", *steps, inputs={"base": {}}), base=base)
    await site.ended(run)
    found = await said(site, run)
    assert set(found) == {("call", 1), ("call", 2), ("talk", 1), ("fails", 1)}
    first, last = found["call", 1]
    assert first["request"] | {"ms": 0} == {
        "method": "GET", "url": f"{base}/flaky", "status": 503, "bytes": 11, "ms": 0
    }  # fmt: skip
    assert first["level"] == "warning"
    assert last["message"].startswith("failed, again in 0 s: http_status: ")
    assert [line["request"]["status"] for line in found["call", 2]] == [200]
    assert [line["message"] for line in found["talk", 1]] == ["line 0 of talk, ***"]
    assert [line["message"] for line in found["fails", 1]] == ["failed, again in 0 s: flaky: it broke for now"]
    assert set(await said(site, run, "talk")) == {("talk", 1)}


async def test_the_api_gives_them_page_by_page_and_masks_secret_inputs(site: Drive, base: str) -> None:
    flow = await site.put(
        "pin",
        *({"id": f"s{n}", "type": "chatty", "config": {"say": "{{ inputs.pin }}"}} for n in range(3)),
        inputs={"pin": {"secret": True}},
    )
    run = await site.start(flow, pin="pin-4711/x")
    await site.ended(run)
    app = create_app(site.db, site.broker, Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080/api/v1") as api:
        answer = (await api.get(f"/runs/{run}/logs", params={"limit": 2})).json()
        assert [item["step"] for item in answer["items"]] == ["s0", "s1"]
        rest = (await api.get(f"/runs/{run}/logs", params={"cursor": answer["next_cursor"]})).json()
        assert [item["step"] for item in rest["items"]] == ["s2"]
        one = (await api.get(f"/runs/{run}/tasks/s1/logs")).json()
        assert [line["message"] for line in one["items"][0]["lines"]] == ["line 0 of s1, ***"]
        for path in (f"/runs/{UUID(int=7)}/logs", f"/runs/{run}/tasks/none/logs", f"/runs/{run}/tasks/s1[x]/logs"):
            assert (await api.get(path)).status_code == 404, path
        bad = await api.get(f"/runs/{run}/logs", params={"cursor": "bm9uZQ"})
        assert (bad.status_code, bad.json()["code"]) == (422, "bad_cursor")


async def test_an_attempt_that_was_made_twice_keeps_the_later_log_and_a_batch_may_hold_both(
    site: Drive, base: str
) -> None:
    run = UUID(int=77)
    async with site.db.transaction() as conn:
        await save_logs(conn, [TaskLog(run, "a", 1, '["first"]'), TaskLog(run, "a", 1, '["second"]')])
        await save_logs(conn, [TaskLog(run, "a", 1, '["third"]'), TaskLog(run, "b", 1, '["other"]')])
        await save_logs(conn, [])
    assert await said(site, run) == {("a", 1): ["third"], ("b", 1): ["other"]}


def lines(log: AttemptLog) -> list[dict[str, Any]]:
    import orjson

    assert len(log.text()) <= MAX_BYTES
    made: list[dict[str, Any]] = orjson.loads(log.text())
    assert len(made) <= MAX_LINES
    return made


@pytest.mark.parametrize("text", ["x", "x" * 3_000, "é" * 100_000, "\x00\ud800\n"])
def test_a_log_is_bounded_and_says_what_it_left_out_and_how_it_ended(text: str) -> None:
    log = AttemptLog(lambda text: text)
    for _ in range(10_000):
        log.say(text)
    log.end(FLAKY, 1500)
    *kept, note, end = lines(log)
    assert note["message"].startswith(f"{10_000 - len(kept)} more lines were left out")
    assert end["message"] == "failed, again in 1.5 s: flaky: it broke for now"


def test_a_secret_on_the_edge_of_a_cut_is_masked_first() -> None:
    log = AttemptLog(lambda text: text.replace("hunter2", "***"))
    log.say("x" * 3_996 + "hunter2" + "y" * 100)
    assert "hunt" not in log.text()


async def test_a_request_that_got_no_answer_says_why() -> None:
    class Broken:
        async def send(self, request: HttpRequest) -> HttpResponse:
            raise TransportError("connect_error", "no")

    log = AttemptLog(lambda text: text)
    with pytest.raises(TransportError):
        await LoggedTransport(Broken(), log, lambda t: t).send(HttpRequest("PUT", "https://a.test/b?c=d"))
    (line,) = lines(log)
    assert (line["level"], line["request"]["error"], line["request"]["url"]) == (
        "warning", "connect_error", "https://a.test/b"
    )  # fmt: skip


def test_an_attempt_that_said_nothing_and_succeeded_has_nothing_to_store() -> None:
    log = AttemptLog(lambda text: text)
    log.end(None, None)
    assert not log
