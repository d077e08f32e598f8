"""What every page shares: the frame, the security headers, and errors as pages that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse, Response

from automata.access.principal import Role
from automata.errors import AutomataError, Unavailable
from automata.http import problem
from automata.http.authorization import csrf_token, needs, principal_if_known
from automata.http.bodies import invalid_request
from automata.http.errors import Unauthenticated
from automata.http.sign_in import SIGN_IN_PAGE as SIGN_IN
from automata.web.templating import environment

# Nothing inline and nothing from elsewhere. A form's answer that leads on is checked by form-action too.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    # With the API's `no-referrer` browsers send `Origin: null` with forms, which the guard must refuse.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
MESSAGE_COOKIE = "automata_said"
MAX_MESSAGE = 600
MAX_COMMENT = 4_000  # characters that somebody writes to a decision


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of the menu; `key` goes there after `g`. `whole`: about all flows, so not for who is limited to some."""

    path: str
    word: str
    icon: str
    key: str
    least: Role = Role.VIEWER
    whole: bool = False


# In the order of the menu; a page of its own adds its line here and its router to app.py.
MENU = (
    Item("/", "Overview", "overview", "o"),
    Item("/flows", "Flows", "flows", "f"),
    Item("/runs", "Runs", "runs", "r"),
    Item("/proposals", "Proposals", "proposals", "p", whole=True),
    Item("/dead-letters", "Dead letters", "letters", "d"),
    Item("/approvals", "Approvals", "approvals", "a"),
    Item("/schedules", "Schedules", "schedules", "s"),
    Item("/sync", "Sync", "sync", "y", whole=True),
    Item("/audit", "Audit", "audit", "u", Role.ADMIN),
    Item("/tokens", "Tokens", "tokens", "t", Role.ADMIN),
)


def router(*, least: Role = Role.VIEWER, limits: bool = False) -> APIRouter:
    """A router of pages: `least` is what each of its routes takes, unless the route asks for more.

    `limits`: all of them keep to the flows of whoever is limited to some; a route that names a role says so again.
    """
    required = needs(least, limits=limits)
    return APIRouter(
        route_class=PageRoute, dependencies=[required], default_response_class=Response, include_in_schema=False
    )


class PageRoute(APIRoute):
    """A route whose failures are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except Unauthenticated as error:
                return _sign_in(request, error)
            except AutomataError as error:
                return error_page(request, error)
            except RequestValidationError as error:
                return error_page(request, invalid_request(error.errors()))

        return handle


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page of templates/; `values` are what it shows."""
    page = environment().get_template(template).render(_frame(request) | values)
    answer = Response(page, status, headers=HEADERS, media_type="text/html")
    if MESSAGE_COOKIE in request.cookies:
        answer.delete_cookie(MESSAGE_COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def error_page(request: Request, error: AutomataError) -> Response:
    """An expected failure as a page; a fault of ours goes on to where it is logged."""
    if error.status >= 500 and not isinstance(error, Unavailable):
        _raise(error)
    heading = HTTPStatus(error.status).phrase.capitalize()
    answer = render(request, "error.html", error.status, error=error, heading=heading)
    answer.headers.update(problem.headers_of(error))
    return answer


def redirect_with_message(request: Request, path: str, message: str = "", *, bad: bool = False) -> Response:
    """After a form: go on to `path`, which says once what was done. `path` is one of ours."""
    answer = RedirectResponse(path, 303, headers=HEADERS)
    if message:
        value = quote(("!" if bad else "") + message[:MAX_MESSAGE])
        secure = request.url.scheme == "https"
        answer.set_cookie(MESSAGE_COOKIE, value, max_age=30, path="/", httponly=True, samesite="strict", secure=secure)
    return answer


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asks, and not for what the API answers."""
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(("/api/", "/static/"))


def _sign_in(request: Request, error: Unauthenticated) -> Response:
    """To the page for it, and back; a form that was sent cannot be sent again for somebody."""
    if request.headers.get("authorization") or not wants_page(request):
        return error_page(request, error)
    onward = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = f"?{urlencode({'next': onward})}" if request.method == "GET" and onward != "/" else ""
    return RedirectResponse(SIGN_IN + query, 303, headers=HEADERS)


def _frame(request: Request) -> dict[str, Any]:
    principal = principal_if_known(request)  # None: an error before anybody was known
    path = request.url.path
    message = unquote(request.cookies.get(MESSAGE_COOKIE, ""))[:MAX_MESSAGE]
    return {
        "navigation": [
            (item, path == item.path or (item.path != "/" and path.startswith(item.path)))
            for item in MENU
            if principal and principal.role >= item.least and not (item.whole and principal.labels)
        ],
        "principal": principal,
        "may_run": principal is not None and principal.role >= Role.OPERATOR,
        "may_propose": principal is not None and principal.role >= Role.AUTHOR and not principal.labels,
        "may_review": principal is not None and principal.role >= Role.REVIEWER,
        "form_token": csrf_token(request),
        "most_comment": MAX_COMMENT,
        "notice": message.removeprefix("!"),
        "notice_is_bad": message.startswith("!"),
    }


def _raise(error: Exception) -> NoReturn:
    raise error
