"""The console beside the API: which pages there are, and where their styles and scripts come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from automata.errors import Missing, Usage
from automata.http import problem
from automata.http.authorization import check_every_route
from automata.http.routing import add_routes
from automata.web import (
    approvals,
    audit,
    deadletters,
    edit,
    flow,
    flows,
    oidc,
    overview,
    proposals,
    run,
    run_form,
    runs,
    schedules,
    signin,
    sync,
    tokens,
)
from automata.web.page import error_page, wants_page
from automata.web.templating import STATIC, asset_digest

# In the order in which an address is looked for.
PARTS = (
    overview,
    flows,
    run_form,
    edit,
    flow,
    runs,
    run,
    proposals,
    deadletters,
    approvals,
    schedules,
    sync,
    audit,
    tokens,
    signin,
    oidc,
)
_FOREVER = "public, max-age=31536000, immutable"  # the address holds the digest of what it serves


def install(app: FastAPI) -> None:
    """Add the pages to the API's application. Raises Usage where the scripts were never made."""
    if asset_digest() is None:
        raise Usage(
            "The web console's scripts and styles are not there.",
            code="no_static_files",
            hint="In a checkout: `make web`. An installed Automata brings them: install it again.",
        )
    for part in PARTS:
        add_routes(app, part.router)
    app.mount("/static", Static(directory=STATIC), name="static")

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and wants_page(request):
            return error_page(request, Missing("There is no page at this address.", hint="The menu leads to all."))
        return problem.of_http(request, error)

    app.add_exception_handler(HTTPException, on_http)
    check_every_route(app)


class Static(StaticFiles):
    """Files that browsers may keep, since a changed one has another address."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = _FOREVER if scope["query_string"] else "no-cache"
        if Path(full_path).suffix == ".txt":
            answer.headers["Content-Type"] = "text/plain; charset=utf-8"
        return answer
