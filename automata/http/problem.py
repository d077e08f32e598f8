"""Every error as RFC 9457 problem+json: one shape, stable codes, never a stack trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from automata.errors import AutomataError, Diagnostic, Unavailable
from automata.http.bodies import encode, invalid_request
from automata.http.errors import Unauthenticated

MEDIA = "application/problem+json"
RETRY_AFTER_SEC = 1  # a full pool empties in well under a second; orchestrators' polls are slower than this
MAX_ERRORS = 100  # of one problem: a flow file of 256 KiB can be wrong in more ways than anyone reads

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `errors` has one entry a finding."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    pointer: str | None = Field(None, description="RFC 6901 pointer into the request, like /inputs/NAME.")
    errors: list[ProblemItem] | None = None
    details: dict[str, Any] | None = None


class ProblemItem(BaseModel):
    pointer: str
    detail: str
    code: str
    suggestion: str | None = None
    line: int | None = None
    column: int | None = None
    severity: str | None = None


Problem.model_rebuild()


def body_of(
    status: int, code: str, detail: str, *, hint: str | None = None, pointer: str | None = None, **more: Any
) -> dict[str, Any]:
    """The problem document; members that are None are left out."""
    members = {
        "type": f"urn:automata:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        "pointer": pointer,
        **more,
    }
    return {name: value for name, value in members.items() if value is not None}


def response(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a problem document."""
    status = int(problem["status"])
    extra = dict(headers or {})
    if status in (408, 413):
        extra["Connection"] = "close"  # the rest of the body is not read
    return Response(encode(problem), status, headers=extra, media_type=MEDIA)


def of_error(error: AutomataError) -> Response:
    """An expected failure, by the class's `status`. One that is neither the caller's doing nor passing is a 500."""
    if error.status >= 500 and not isinstance(error, Unavailable):
        return of_crash(error)
    problem = body_of(
        error.status,
        error.code,
        error.message,
        hint=error.hint,
        pointer=error.pointer,
        errors=errors_of(error.diagnostics),
        details=dict(error.details) or None,
    )
    return response(problem, headers_of(error))


def of_crash(error: BaseException) -> Response:
    """A fault of ours: the log has the trace, the caller only learns that it was not the request."""
    log.error("request failed", exc_info=error)
    return response(body_of(500, "internal", "The server failed to answer; its log says why."))


def of_http(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals: an unknown route, a method that an address does not have."""
    code = HTTPStatus(error.status_code).name.lower()
    detail = {
        404: "There is nothing at this address.",
        405: "This address does not have that method.",
    }.get(error.status_code, str(error.detail))
    hint = "GET /openapi.json lists every address." if error.status_code in (404, 405) else None
    # Starlette tells the methods of the first route alone, and an address may have several.
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return response(body_of(error.status_code, code, detail, hint=hint), headers)


def _methods(request: Request) -> list[str]:
    def has(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") if has(method)]


def install(app: FastAPI) -> None:
    """Answer every kind of failure of the app's routes as a problem."""

    async def on_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, AutomataError)
        return of_error(error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return of_http(request, error)

    async def on_parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_error(invalid_request(error.errors()))

    app.add_exception_handler(AutomataError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_parameters)


def errors_of(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]] | None:
    """A problem's `errors`: the findings without what they do not say; None where there are none."""
    listed = [
        {
            "pointer": item.pointer,
            "detail": item.message,
            "code": item.code,
            "suggestion": item.suggestion,
            "line": item.line or None,
            "column": item.column or None,
            "severity": item.severity if item.severity != "error" else None,
        }
        for item in diagnostics[:MAX_ERRORS]
    ]
    return [{name: value for name, value in item.items() if value is not None} for item in listed] or None


def headers_of(error: AutomataError) -> dict[str, str]:
    """The headers that belong to an error: when to try again, or how to authenticate."""
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.details.get("retry_after_sec", RETRY_AFTER_SEC))}
    return {"WWW-Authenticate": error.challenge} if isinstance(error, Unauthenticated) else {}
