"""Signing in and out at the console, and who one is."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from automata.access.principal import Role
from automata.api.schemas.access import MeAnswer, SignInRequest
from automata.http import authorization
from automata.http.authentication import FORM_MEDIA, actor_of, authenticator_of, read_form
from automata.http.authorization import needs, open_to_everybody
from automata.http.bodies import V1, Json, media_type, read_model
from automata.http.errors import Unauthenticated
from automata.http.sign_in import SIGN_IN_PAGE, local_path, open_session
from automata.store.audit import skip_audit

router = APIRouter(tags=["access"])


@router.post(SIGN_IN_PAGE, dependencies=[open_to_everybody()], responses={200: {"model": MeAnswer}})
async def sign_in(request: Request) -> Response:
    """Open a session with a token: as JSON, or from a form, which is sent on to its field `next`."""
    if media_type(request) == FORM_MEDIA:
        return await _by_form(request)
    body = await read_model(request, SignInRequest)
    if not await _open(request, body.token):
        raise Unauthenticated(
            "The token is not good.", code="bad_token", hint="It is unknown, has expired or was revoked."
        )
    return Json(_me(request))


@router.post("/sign-out", dependencies=[needs(Role.VIEWER, limits=True)], status_code=204, response_class=Response)
async def sign_out(request: Request) -> Response:
    """End the session; its cookie is worth nothing any more, wherever it is."""
    authenticator = authenticator_of(request)
    skip_audit()  # a token has no session to end
    if session := authorization.session_of(request):
        await authenticator.sessions.sign_out(session, actor_of(request))
        authenticator.set_cookie(request, "")
    return RedirectResponse(SIGN_IN_PAGE, 303) if media_type(request) == FORM_MEDIA else Response(status_code=204)


@router.get(f"{V1}/me", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": MeAnswer}})
async def me(request: Request) -> Response:
    """Who asks, and what they may do."""
    return Json(_me(request))


async def _by_form(request: Request) -> Response:
    fields = await read_form(request)
    onward = local_path(fields.get("next", "/"))
    if await _open(request, fields.get("token", "").strip()):
        return RedirectResponse(onward, 303)
    return RedirectResponse(f"{SIGN_IN_PAGE}?{urlencode({'failed': 1, 'next': onward})}", 303)


async def _open(request: Request, token: str) -> bool:
    """Whether the token was good; where nobody has to say who they are there is nothing to open."""
    authenticator = authenticator_of(request)
    if authenticator.open:
        await authenticator.authenticate(request)
        return True
    principal = await authenticator.principal_of_token(request, token)
    if principal:
        await open_session(request, principal)
    return principal is not None


def _me(request: Request) -> dict[str, Any]:
    principal = authorization.current_principal(request)
    return {
        "name": principal.name,
        "mail": principal.mail,
        "role": principal.role.word,
        "labels": principal.labels,
        "csrf_token": authorization.csrf_token(request) or None,
    }
