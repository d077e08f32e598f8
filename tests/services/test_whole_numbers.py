"""Values walk through a run as they are, in production and in a rehearsal alike, or the run says what cannot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from automata.engine.states import RunStatus
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import Flows, run_case
from automata.steps.registry import load_types
from tests.drive import Drive, drive, transform

NUMBERS = ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890", "18446744073709551615"]
MOCKED = "http://mock.example.com"
STEPS: list[dict[str, Any]] = [
    {
        "id": "fetch",
        "type": "http",
        "config": {"url": "{{ inputs.base }}/number/{{ inputs.given }}"},
        "outputs": {"id": "{{ response.body.id }}", "ids": "{{ response.body.ids }}"},
    },
    transform(
        "next", {"id": "{{ steps.fetch.outputs.id + 1 }}", "text": "{{ steps.fetch.outputs.ids | json }}"}, "fetch"
    ),
    {
        "id": "send",
        "type": "http",
        "depends_on": ["next"],
        "foreach": "{{ steps.fetch.outputs.ids }}",
        "config": {
            "method": "POST",
            "url": "{{ inputs.base }}/echo/{{ item }}",
            "body": {"id": "{{ item }}", "given": "{{ inputs.given }}"},
        },
        "outputs": {"sent": "{{ response.body.text }}", "path": "{{ response.body.path }}"},
    },
]
OUTPUTS = {
    "id": "{{ steps.fetch.outputs.id }}",
    "next": "{{ steps.next.outputs.id }}",
    "text": "{{ steps.next.outputs.text }}",
    "sent": "{{ steps.send.outputs }}",
    "given": "{{ inputs.given }}",
}
INPUTS = {"base": {}, "given": {"type": "integer"}}


def expected(number: str) -> dict[str, Any]:
    sent = f'{{"id":{number},"given":{number}}}'
    return {
        "id": int(number),
        "next": int(number) + 1,
        "text": f"[{number}]",
        "sent": [{"sent": json.loads(sent), "path": f"/echo/{number}"}],
        "given": int(number),
    }


async def answer(request: web.Request) -> web.Response:
    if request.path.startswith("/number/"):
        number = request.path.removeprefix("/number/")
        return web.Response(text=f'{{"id": {number}, "ids": [{number}]}}', content_type="application/json")
    text = f'{{"text": {await request.text()}, "path": "{request.path}"}}'
    return web.Response(text=text, content_type="application/json")


@pytest.fixture
async def service() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url, {"http": load_types()["http"]}) as site:
        yield site


async def test_production_keeps_the_digits(site: Drive, service: str) -> None:
    flow = await site.put("numbers", *STEPS, inputs=INPUTS, outputs=OUTPUTS)
    for number in NUMBERS:
        run = await site.start(flow, base=service, given=int(number))
        ended = await site.ended(run)
        assert (ended.status, ended.outputs) == (RunStatus.SUCCEEDED, expected(number))
        assert ended.inputs["given"] == int(number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_rehearsal_keeps_the_digits(number: str) -> None:
    echo = json.dumps({"text": {"id": int(number), "given": int(number)}, "path": f"/echo/{number}"})
    sent = f'{{"equals": {{"id": {number}, "given": {number}}}}}'
    mocks = f"""[
      {{"request": {{"url": "{MOCKED}/number/{number}"}},
        "responses": [{{"json": {{"id": {number}, "ids": [{number}]}}}}]}},
      {{"request": {{"method": "POST", "url": "{MOCKED}/echo/{number}", "json": {sent}}},
        "responses": [{{"json": {echo}}}]}}
    ]"""
    inputs = f'{{"base": "{MOCKED}", "given": {number}}}'
    expect = json.dumps({"status": "SUCCEEDED", "outputs": expected(number)})
    case = f'{{"name": "it", "inputs": {inputs}, "mocks": {mocks}, "expect": {expect}}}'
    read = read_cases(f'{{"flow": "numbers", "cases": [{case}]}}'.encode(), "tests/a.test.json", lambda _: None)
    assert read.diagnostics == ()
    spec = {"name": "numbers", "steps": STEPS, "inputs": INPUTS, "outputs": OUTPUTS}
    result = run_case(read.cases[0], Flows({"numbers": (spec, {})}))
    assert not result.problems, result.problems


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ([{"id": "ask", "type": "approval", "config": {"prompt": "{{ inputs.text }}?"}}], {}, "`prompt` holds"),
        (
            [transform("t", {"x": "{{ inputs.text }}"})],
            {"concurrency": {"limit": 1, "key": "{{ inputs.text }}"}},
            "`key`",
        ),
    ],
    ids=["prompt", "key"],
)
async def test_a_nul_fails_the_run_that_has_it_and_no_other(
    site: Drive, steps: list[dict[str, Any]], more: dict[str, Any], said: str
) -> None:
    flow = await site.put("nul", *steps, inputs={"text": {}}, **more)
    plain = await site.put(
        "plain", transform("t", {"x": "{{ inputs.text }}"}), inputs={"text": {}}, outputs={"x": "{{ inputs.text }}"}
    )
    run, other = await site.start(flow, text="a\0b"), await site.start(plain, text="a\0b")
    ended = await site.ended(run)
    assert ended.status is RunStatus.FAILED
    assert said in ended.error["message"]
    assert "U+0000" in ended.error["message"]
    assert (await site.ended(other)).outputs == {"x": "a\0b"}
