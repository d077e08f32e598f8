"""The page to sign in at; what its form sends goes to automata.api.signin, which opens the session."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from automata.api.auth import anyone
from automata.api.desk import Desk
from automata.api.signin import PAGE, onward
from automata.web.page import PageRoute, render

router = APIRouter(route_class=PageRoute, default_response_class=Response)
Next = Annotated[str, Query(alias="next", max_length=4000)]


@router.get(PAGE, dependencies=[anyone()])
async def show(request: Request, onto: Next = "/", failed: bool = False) -> Response:
    """Asks for a token. Where nobody has to say who they are it leads on."""
    onto = onward(onto)
    if Desk.of(request).entrance.open:
        return RedirectResponse(onto, 303)
    return render(request, "signin.html", onto=onto, failed=failed)
