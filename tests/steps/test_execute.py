"""One attempt never raises, whatever the templates, the step type or the outputs do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from automata.engine.retry import Failure
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import PlanStep
from automata.steps.contract import HttpRequest, HttpResponse, Outcome, StepContext
from automata.steps.execute import MAX_OUTPUT_BYTES, execute_step
from automata.steps.http import HttpStep
from automata.steps.masking import masker

JSON = (("Content-Type", "application/json"),)


@dataclass
class Custom:
    """A plugin whose one attempt is `act`."""

    act: Callable[[Mapping[str, Any], StepContext], Any]
    name: str = "custom"
    kind: str = "work"
    scope: Any = "result"
    config_schema: Any = None

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        found = self.act(config, ctx)
        return found if isinstance(found, Outcome) else await found


def planned(**step: Any) -> PlanStep:
    spec = {"name": "f", "steps": [{"id": "fetch", "type": "http", "config": {"url": "https://a.test/"}} | step]}
    return compile_flow(Flow.from_spec(spec)).steps["fetch"]


async def execute(
    act: Any, ctx: StepContext, context: dict[str, Any] | None = None, step: PlanStep | None = None
) -> Outcome:
    step_type = act if hasattr(act, "execute") else Custom(act)
    return await execute_step(step_type, step or planned(), context or {}, ctx)


def giving(outputs: Any) -> Any:
    return lambda config, ctx: Outcome(outputs=outputs)


async def test_the_config_is_rendered_and_declared_outputs_replace_the_defaults(context: Any, scripted: Any) -> None:
    step = planned(
        config={"url": "https://a.test/{{ inputs.id }}"},
        outputs={"orders": "{{ .response.body.data }}", "code": "{{ response.status }}"},
    )
    mock = scripted(HttpResponse(200, JSON, b'{"data": [1, 2]}'))
    outcome = await execute(HttpStep(), context(mock), {"inputs": {"id": 7}}, step)
    assert mock.sent[0].url == "https://a.test/7"
    assert outcome.outputs == {"orders": [1, 2], "code": 200}
    assert orjson.loads(outcome.encoded or b"") == outcome.outputs


async def test_without_declared_outputs_the_defaults_are_kept(context: Any, scripted: Any) -> None:
    outcome = await execute(HttpStep(), context(scripted(HttpResponse(204))))
    assert outcome.outputs == {"status_code": 204, "headers": {}, "body": ""}


async def test_a_plugin_that_only_returns_outputs_is_seen_as_result(context: Any) -> None:
    outcome = await execute(giving({"n": 2}), context(None), step=planned(outputs={"double": "{{ result.n * 2 }}"}))
    assert outcome.outputs == {"double": 4}


@pytest.mark.parametrize(
    "step",
    [{"config": {"url": "{{ inputs.nowhere }}"}}, {"outputs": {"x": "{{ result.nowhere }}"}}],
)
async def test_a_template_error_is_final_and_names_the_expression(step: dict[str, Any], context: Any) -> None:
    failure = (await execute(giving({"n": 1}), context(None), {"inputs": {}}, planned(**step))).failure
    assert failure is not None
    assert (failure.code, failure.retryable) == ("template_error", False)
    assert "nowhere" in failure.message


async def test_outputs_templates_do_not_see_secrets(context: Any) -> None:
    step = planned(config={"url": "{{ secrets.KEY }}"}, outputs={"x": "{{ secrets.KEY | default('nothing') }}"})
    outcome = await execute(giving({}), context(None), {"secrets": {"KEY": "hunter2"}}, step)
    assert b"hunter2" not in (outcome.encoded or b"")


async def test_an_attempt_ends_at_its_timeout_and_tells_what_it_waited_for(context: Any) -> None:
    class Hanging:
        async def send(self, request: HttpRequest) -> HttpResponse:
            await asyncio.Event().wait()
            raise AssertionError

    outcome = await execute(HttpStep(), context(Hanging(), timeout_sec=0.02))
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("timeout", True)
    assert "timeout_sec = 0.02" in outcome.failure.message
    assert outcome.request is not None
    assert outcome.request["url"] == "https://a.test/"


def raises(error: BaseException) -> Any:
    def act(config: Any, ctx: Any) -> Outcome:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (TimeoutError("inner"), "TimeoutError: inner"),
        (RecursionError("deep"), "RecursionError: deep"),
        (MemoryError(), "MemoryError: "),
        (ValueError("half \ud800"), "ValueError: half ?"),
        (asyncio.CancelledError(), "CancelledError: "),
    ],
)
async def test_a_step_type_that_raises_is_a_final_failure(error: BaseException, message: str, context: Any) -> None:
    failure = (await execute(raises(error), context(None))).failure
    assert failure == Failure(message=message, code="step_crashed")


async def test_a_step_type_that_returns_nothing_is_a_crash_too(context: Any) -> None:
    async def nothing() -> None:
        return None

    failure = (await execute(lambda config, ctx: nothing(), context(None))).failure
    assert failure is not None
    assert failure.code == "step_crashed"


async def test_a_long_message_is_cut(context: Any) -> None:
    failure = (await execute(raises(ValueError("x" * 100_000)), context(None))).failure
    assert failure is not None
    assert len(failure.message) == 1_000


async def test_cancelling_the_attempt_from_outside_is_passed_on(context: Any) -> None:
    begun = asyncio.Event()

    async def wait() -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(execute_step(Custom(lambda config, ctx: wait()), planned(), {}, context(None)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["\ud800", {"\udfff": 1}, 2**4096, nested(300), {1, 2}, b"bytes"],
    ids=["surrogate", "key", "int", "deep", "set", "bytes"],
)
async def test_outputs_that_cannot_be_stored_are_a_bad_response(value: Any, context: Any) -> None:
    failure = (await execute(giving({"x": value}), context(None))).failure
    assert failure is not None
    assert (failure.code, failure.retryable) == ("bad_response", False)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": -float("inf")}}])
async def test_a_number_of_a_package_that_is_not_finite_is_a_bad_response_and_not_null(
    value: Any, context: Any
) -> None:
    outcome = await execute(giving({"x": value}), context(None), step=planned(type="custom"))
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("bad_response", False)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40 + 7], ids=str)
async def test_a_whole_number_is_stored_with_its_digits(number: int, context: Any) -> None:
    outcome = await execute(giving({"x": [number]}), context(None))
    assert outcome.encoded == b'{"x":[%d]}' % number


async def test_a_nul_can_be_stored(context: Any) -> None:
    assert (await execute(giving({"x": "a\0b"}), context(None))).encoded == b'{"x":"a\\u0000b"}'


async def test_outputs_over_the_limit_are_refused_with_a_way_out(context: Any) -> None:
    assert (await execute(giving({"x": "a" * (MAX_OUTPUT_BYTES - 8)}), context(None))).failure is None
    failure = (await execute(giving({"x": "a" * (MAX_OUTPUT_BYTES - 7)}), context(None))).failure
    assert failure is not None
    assert failure.code == "output_too_large"
    assert "outputs" in failure.message


async def test_a_failure_of_the_type_is_kept_as_it_is(context: Any) -> None:
    given = Failure(message="no", code="own_code", status=503, retryable=True, retry_after_ms=5)
    assert (await execute(lambda config, ctx: Outcome(failure=given), context(None))).failure == given


def hide(text: str) -> str:
    return text.replace("hunter2", "***")


async def test_a_failed_attempt_describes_its_request_without_secrets(context: Any, scripted: Any) -> None:
    step = planned(
        config={
            "method": "POST",
            "url": "https://a.test/{{ secrets.KEY }}?k={{ secrets.KEY }}",
            "headers": {"X-Custom": "{{ secrets.KEY }}", "X-Api-Key": "short", "Cookie": "c"},
            "auth": {"bearer": "tok"},
            "body": {"password": "{{ secrets.KEY }}"},
        }
    )
    mock = scripted(HttpResponse(500, (), b"you sent hunter2"))
    outcome = await execute(HttpStep(), context(mock, mask=hide), {"secrets": {"KEY": "hunter2"}}, step)
    assert b"hunter2" in mock.sent[0].body
    assert outcome.request == {
        "method": "POST",
        "url": "https://a.test/***",
        "headers": {
            "X-Custom": "***", "X-Api-Key": "***", "Cookie": "***", "Authorization": "***",
            "Content-Type": "application/json", "Idempotency-Key": "run1:fetch", "User-Agent": "automata/0.1.0",
        },
        "body": '{"password":"***"}',
        "body_bytes": 22,
    }  # fmt: skip
    assert outcome.failure is not None
    assert outcome.failure.message == "POST https://a.test/*** answered 500: you sent ***"


@pytest.mark.parametrize("header", ["{{ secrets.KEY }}", "nothing secret"])
async def test_outputs_are_masked_also_where_a_service_echoes_what_another_step_sent(
    header: str, context: Any, scripted: Any
) -> None:
    answer = HttpResponse(200, (*JSON, ("X-Echo", "hunter2")), b'{"hunter2": ["hunter2", 5]}')
    step = planned(config={"url": "https://a.test/", "headers": {"X-K": header}})
    outcome = await execute(HttpStep(), context(scripted(answer), mask=hide), {"secrets": {"KEY": "hunter2"}}, step)
    assert outcome.outputs is not None
    assert outcome.outputs["body"] == {"***": ["***", 5]}
    assert b"hunter2" not in (outcome.encoded or b"hunter2")


@pytest.mark.parametrize("body", [b'{"pin": 12345678}', b'{"pin": 1.2345678e7}', b'[[12345678, "12345678"]]'])
async def test_a_secret_of_digits_that_a_service_sends_back_as_a_number_is_masked(
    body: bytes, context: Any, scripted: Any
) -> None:
    mask = masker({"PIN": "0012345678"})
    outcome = await execute(HttpStep(), context(scripted(HttpResponse(200, JSON, body)), mask=mask))
    assert b"2345678" not in (outcome.encoded or b"")
    assert b"***" in (outcome.encoded or b"")


async def test_a_secret_in_json_that_is_a_value_of_json_is_masked(context: Any, scripted: Any) -> None:
    inner = orjson.dumps({"token": 'q"uot\\ed'}).decode()
    answer = HttpResponse(200, JSON, orjson.dumps({"text": inner}))
    mask = masker({"KEY": 'q"uot\\ed'})
    outcome = await execute(
        HttpStep(), context(scripted(answer), mask=mask), {}, planned(config={"url": "https://a.test/"})
    )
    assert outcome.outputs is not None
    assert outcome.outputs["body"] == {"text": '{"token":"***"}'}


async def test_a_context_knows_whether_its_step_reads_secrets(context: Any) -> None:
    seen = []

    def act(config: Any, ctx: StepContext) -> Outcome:
        seen.append(ctx.reads_secrets)
        return Outcome()

    await execute(act, context(None))
    await execute(act, context(None), {"secrets": {"K": "v"}}, planned(config={"url": "{{ secrets.K }}"}))
    assert seen == [False, True]
