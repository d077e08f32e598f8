"""One attempt of one worker step, from the plan to an outcome. Whatever a step type does, this does not raise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from automata.engine.retry import Failure
from automata.errors import Invalid
from automata.flow.address import UNSAFE_VALUE
from automata.flow.exact_json import dumps, is_finite
from automata.flow.steptypes import STEP_TYPES
from automata.steps.contract import HttpRequest, HttpResponse, Outcome, StepContext, StepType, Transport
from automata.steps.masking import Mask, cut_message, describe_request, mask_tree

if TYPE_CHECKING:
    from automata.flow.plan import PlanStep

MAX_OUTPUT_BYTES = 16 * 1024 * 1024


class _Recorder:
    """The transport of one attempt; it remembers the last request, which a timeout or a crash would lose."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.last: HttpRequest | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.last = request
        return await self._transport.send(request)


async def execute_step(
    step_type: StepType, plan_step: PlanStep, context: Mapping[str, Any], ctx: StepContext
) -> Outcome:
    """Render, run and check one attempt; `ctx.timeout_sec` bounds all of it.

    `context` is the template context with `secrets`, which outputs templates do not get to see. The outcome holds a
    failure, or outputs that can be stored and their JSON in `encoded`. Raises only CancelledError, and that only when
    the attempt itself is cancelled from outside.
    """
    recorder = _Recorder(ctx.transport)
    inner = StepContext(
        ctx.run_id,
        ctx.step,
        ctx.attempt,
        ctx.timeout_sec,
        ctx.idempotency_key,
        recorder,
        ctx.log,
        ctx.mask,
        plan_step.reads_secrets,
    )
    outcome = await _guarded(step_type, plan_step, context, inner)
    if outcome.failure is None:
        return outcome
    message = cut_message(outcome.failure.message, ctx.mask)
    request = describe_request(recorder.last, ctx.mask) if recorder.last else None
    return Outcome(failure=replace(outcome.failure, message=message), request=request)


async def _guarded(step_type: StepType, plan_step: PlanStep, context: Mapping[str, Any], ctx: StepContext) -> Outcome:
    try:
        async with asyncio.timeout(ctx.timeout_sec) as limit:
            return await _attempt(step_type, plan_step, context, ctx)
    except TimeoutError as error:
        return _timed_out(ctx) if limit.expired() else _crashed(error)
    except asyncio.CancelledError as error:
        # A step type that awaits something cancelled looks the same as a worker that gives up; only the task knows.
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        return _crashed(error)
    except Exception as error:
        return _crashed(error)


async def _attempt(step_type: StepType, plan_step: PlanStep, context: Mapping[str, Any], ctx: StepContext) -> Outcome:
    try:
        config = plan_step.config.render(context)
    except Invalid as error:
        return _failed("unsafe_url" if error.code == UNSAFE_VALUE else "template_error", str(error))
    outcome = await step_type.execute(config, ctx)
    if outcome.failure is not None:
        return outcome
    try:
        outputs = _outputs(step_type, plan_step, context, outcome)
    except Invalid as error:
        # An answer that arrived is one, whatever its body; only who reads the body is told that it cannot be read.
        return _failed("bad_response" if error.code == "AF214" else "template_error", str(error))
    stored = _storable(outcome, outputs, ctx.mask)
    # What is built in gives JSON and what templates make of it; a package may give anything.
    if plan_step.type not in STEP_TYPES and stored.failure is None and not is_finite(stored.outputs):
        return _failed("bad_response", "The outputs hold a number that is not finite, which cannot be stored as JSON.")
    return stored


def _outputs(
    step_type: StepType, plan_step: PlanStep, context: Mapping[str, Any], outcome: Outcome
) -> Mapping[str, Any]:
    defaults = outcome.outputs or {}
    if plan_step.outputs is None:
        return defaults
    scope = outcome.response if outcome.response is not None else {step_type.scope: defaults}
    visible = {name: value for name, value in context.items() if name != "secrets"}
    rendered: Mapping[str, Any] = plan_step.outputs.render(visible | dict(scope))
    return rendered


def error_of(step: str, outcome: Outcome) -> dict[str, Any]:
    """The error of a step that failed: {code, message, step}, with `status` and `request` where there are any."""
    failure = outcome.failure
    if failure is None:
        raise ValueError(f"the step {step} did not fail")
    error: dict[str, Any] = {"code": failure.code, "message": failure.message, "step": step}
    if failure.status is not None:
        error["status"] = failure.status
    if outcome.request is not None:
        error["request"] = outcome.request
    return error


def _storable(outcome: Outcome, outputs: Mapping[str, Any], mask: Mask) -> Outcome:
    """A service may echo a secret that another step sent it, so every output passes the mask."""
    try:
        encoded = dumps(outputs)
        if _is_hit(encoded.decode(), mask):
            outputs = mask_tree(outputs, mask)
            encoded = dumps(outputs)
    except TypeError as error:
        return _failed("bad_response", f"The outputs cannot be stored as JSON: {error}.")
    if len(encoded) > MAX_OUTPUT_BYTES:
        return _failed(
            "output_too_large",
            f"The outputs take {len(encoded)} bytes of JSON; {MAX_OUTPUT_BYTES} is the most that is stored. "
            "Declare `outputs` to keep only what later steps read.",
        )
    return Outcome(outcome.response, outputs, None, encoded, outcome.request)


def _is_hit(text: str, mask: Mask) -> bool:
    """Whether JSON text holds what is masked. A value that is JSON itself is escaped twice, so it is looked at once
    more with one layer off."""
    if mask(text) != text:
        return True
    inner = text.replace('\\"', '"').replace("\\\\", "\\") if "\\" in text else text
    return inner is not text and mask(inner) != inner


def _timed_out(ctx: StepContext) -> Outcome:
    message = f"The attempt took longer than timeout_sec = {ctx.timeout_sec:g}."
    return Outcome(failure=Failure(message=message, code="timeout", retryable=True))


def _crashed(error: BaseException) -> Outcome:
    return _failed("step_crashed", f"{type(error).__name__}: {error}")


def _failed(code: str, message: str) -> Outcome:
    return Outcome(failure=Failure(message=message, code=code))
