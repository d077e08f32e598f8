"""The page to sign in at; what its form sends goes to automata.api.sign_in, its other button to automata.web.oidc."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from automata.errors import AutomataError
from automata.http.authentication import authenticator_of
from automata.http.authorization import open_to_everybody
from automata.http.errors import Unauthenticated
from automata.http.problem import headers_of
from automata.http.sign_in import SIGN_IN_PAGE, local_path
from automata.web.page import PageRoute, render

router = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)
START = f"{SIGN_IN_PAGE}/oidc"
_WHY = "It is unknown, has expired or was revoked."
Next = Annotated[str, Query(alias="next", max_length=4000)]


@router.get(SIGN_IN_PAGE, dependencies=[open_to_everybody()])
async def show(request: Request, onto: Next = "/", failed: bool = False) -> Response:
    """Asks for a token. Where nobody has to say who they are it leads on."""
    onto = local_path(onto)
    if authenticator_of(request).open:
        return RedirectResponse(onto, 303)
    return page(request, onto, Unauthenticated("The token is not good.", hint=_WHY) if failed else None)


def page(request: Request, onto: str, trouble: AutomataError | None = None) -> Response:
    """Both ways in, and why the last one did not lead there. A token that was not good is told as an answer of 200,
    for the form has been sent on.
    """
    provider = authenticator_of(request).provider
    status = trouble.status if trouble and not isinstance(trouble, Unauthenticated) else 200
    by = provider and provider.config.name
    answer = render(request, "signin.html", status, onto=onto, trouble=trouble, by=by, start=START)
    answer.headers.update(headers_of(trouble) if trouble and status != 200 else {})
    return answer
