"""The `http` step: build, send, follow, judge. Every attempt carries the same idempotency key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.engine.retry import Failure
from automata.errors import Invalid
from automata.flow.steptypes import STEP_TYPES
from automata.steps.contract import HttpResponse, Outcome, StepContext, TransportError
from automata.steps.http_body import UnreadableBody
from automata.steps.http_redirect import follow
from automata.steps.http_request import build_request, parse_charset, parse_ok_status, parse_reading
from automata.steps.http_response import Reading, failure_of, view

_ROW = STEP_TYPES["http"]


class HttpStep:
    """Outputs `status_code`, `headers` and `body`, or `body_error` where the body cannot be read.

    Templates see them, and `status`, under `response`.
    """

    name = _ROW.name
    kind = _ROW.kind
    scope = _ROW.scope
    config_schema: Mapping[str, Any] = _ROW.config_schema

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        """One request with its redirects, judged by `ok_status`. Everything expected is in the Outcome."""
        try:
            ok_status, reading, charset = parse_ok_status(config), parse_reading(config), parse_charset(config)
            request = build_request(config, ctx.timeout_sec, ctx.idempotency_key)
        except Invalid as error:
            return Outcome(failure=Failure(message=error.message, code="bad_config"))
        try:
            request, response = await follow(ctx.transport, request, ctx.reads_secrets)
        except TransportError as error:
            return Outcome(failure=error.failure())
        if not any(response.status in codes for codes in ok_status):
            return Outcome(failure=failure_of(request, response, ctx.mask))
        return _succeeded(response, reading, charset, ctx)


def _succeeded(response: HttpResponse, reading: Reading, charset: str | None, ctx: StepContext) -> Outcome:
    try:
        outputs = view(response, reading, charset)
    except UnreadableBody as error:
        return Outcome(failure=Failure(message=str(error), code="bad_response"))
    if why := outputs.get("body_error"):
        ctx.log(f"The body cannot be read, and is left out: {why}")
    return Outcome(response={"response": outputs | {"status": response.status}}, outputs=outputs)
