"""Signing in and out at the console, and who one is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from automata.access.principal import Principal, Role
from automata.access.sessions import SESSION_TTL
from automata.api import auth
from automata.api.access_shapes import MeAnswer, SignInRequest
from automata.api.auth import anyone, needs
from automata.api.bodies import read_model
from automata.api.desk import Desk
from automata.api.entrance import FORM_MEDIA, actor_as, read_form
from automata.api.refusals import Unauthenticated
from automata.api.wire import V1, Json, media_type
from automata.store.audit import no_entry

PAGE = "/sign-in"
router = APIRouter(tags=["access"])


@router.post(PAGE, dependencies=[anyone()], responses={200: {"model": MeAnswer}})
async def sign_in(request: Request) -> Response:
    """Open a session with a token: as JSON, or from a form, which is sent on to its field `next`."""
    if media_type(request) == FORM_MEDIA:
        return await _by_form(request)
    asked = await read_model(request, SignInRequest)
    if not await _open(request, asked.token):
        raise Unauthenticated(
            "The token is not good.", code="bad_token", hint="It is unknown, has expired or was revoked."
        )
    return Json(_me(request))


@router.post("/sign-out", dependencies=[needs(Role.VIEWER, limits=True)], status_code=204, response_class=Response)
async def sign_out(request: Request) -> Response:
    """End the session; its cookie is worth nothing any more, wherever it is."""
    entrance = Desk.of(request).entrance
    no_entry()  # a token has no session to end
    if session := auth.session_of(request):
        await entrance.sessions.sign_out(session, auth.actor(request))
        entrance.set_cookie(request, "")
    return RedirectResponse(PAGE, 303) if media_type(request) == FORM_MEDIA else Response(status_code=204)


@router.get(f"{V1}/me", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": MeAnswer}})
async def me(request: Request) -> Response:
    """Who asks, and what they may do."""
    return Json(_me(request))


def onward(text: str) -> str:
    """Where to go after signing in: a path of this server, `/` for whatever is none."""
    # Browsers read `\\` as `/` and drop control characters, so that these could make another server's address of it.
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


async def open_session(
    request: Request, principal: Principal, *, ttl: timedelta = SESSION_TTL, facts: Mapping[str, str] | None = None
) -> None:
    """Sign somebody in who has been found to be who they say; ends the session whose cookie came along."""
    entrance = Desk.of(request).entrance
    session = await entrance.sessions.open(
        principal, actor_as(request, principal), entrance.cookie_of(request), ttl=ttl, facts=facts
    )
    assert session.cookie is not None
    entrance.set_cookie(request, session.cookie, ttl=ttl)
    request.scope["automata.session"] = session
    request.scope["automata.csrf"] = await entrance.sessions.csrf_token(session)
    request.scope["automata.principal"] = principal


async def _by_form(request: Request) -> Response:
    fields = await read_form(request)
    onto = onward(fields.get("next", "/"))
    if await _open(request, fields.get("token", "").strip()):
        return RedirectResponse(onto, 303)
    return RedirectResponse(f"{PAGE}?{urlencode({'failed': 1, 'next': onto})}", 303)


async def _open(request: Request, token: str) -> bool:
    """Whether the token was good; where nobody has to say who they are there is nothing to open."""
    entrance = Desk.of(request).entrance
    if entrance.open:
        await entrance.admit(request)
        return True
    principal = await entrance.token_holder(request, token)
    if principal:
        await open_session(request, principal)
    return principal is not None


def _me(request: Request) -> dict[str, Any]:
    found = auth.who(request)
    return {
        "name": found.name,
        "mail": found.mail,
        "role": found.role.word,
        "labels": found.labels,
        "csrf_token": auth.csrf_token(request) or None,
    }
