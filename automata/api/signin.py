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
from automata.api.schemas.access import MeAnswer, SignInRequest
from automata.http import authorization
from automata.http.authentication import FORM_MEDIA, actor_for, read_form
from automata.http.authorization import needs, open_to_everybody
from automata.http.bodies import V1, Json, media_type, read_model
from automata.http.errors import Unauthenticated
from automata.operations.context import AppContext
from automata.store.audit import skip_audit

PAGE = "/sign-in"
router = APIRouter(tags=["access"])


@router.post(PAGE, dependencies=[open_to_everybody()], responses={200: {"model": MeAnswer}})
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
    entrance = AppContext.of(request).authenticator
    skip_audit()  # a token has no session to end
    if session := authorization.session_of(request):
        await entrance.sessions.sign_out(session, authorization.actor(request))
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
    entrance = AppContext.of(request).authenticator
    session = await entrance.sessions.open(
        principal, actor_for(request, principal), entrance.cookie_of(request), ttl=ttl, facts=facts
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
    entrance = AppContext.of(request).authenticator
    if entrance.open:
        await entrance.authenticate(request)
        return True
    principal = await entrance.principal_of_token(request, token)
    if principal:
        await open_session(request, principal)
    return principal is not None


def _me(request: Request) -> dict[str, Any]:
    found = authorization.current_principal(request)
    return {
        "name": found.name,
        "mail": found.mail,
        "role": found.role.word,
        "labels": found.labels,
        "csrf_token": authorization.csrf_token(request) or None,
    }
