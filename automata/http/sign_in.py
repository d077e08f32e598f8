"""Opening the session of somebody who has shown who they are, and where that leads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from fastapi import Request

from automata.access.principal import Principal
from automata.access.sessions import SESSION_TTL
from automata.http.authentication import actor_for, authenticator_of

SIGN_IN_PAGE = "/sign-in"


def local_path(text: str) -> str:
    """Where to go after signing in: a path of this server, `/` for whatever is none."""
    # Browsers read `\\` as `/` and drop control characters, so that these could make another server's address of it.
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


async def open_session(
    request: Request, principal: Principal, *, ttl: timedelta = SESSION_TTL, facts: Mapping[str, str] | None = None
) -> None:
    """Sign somebody in who has been found to be who they say; ends the session whose cookie came along."""
    authenticator = authenticator_of(request)
    session = await authenticator.sessions.open(
        principal, actor_for(request, principal), authenticator.cookie_of(request), ttl=ttl, facts=facts
    )
    assert session.cookie is not None
    authenticator.set_cookie(request, session.cookie, ttl=ttl)
    request.scope["automata.session"] = session
    request.scope["automata.csrf"] = await authenticator.sessions.csrf_token(session)
    request.scope["automata.principal"] = principal
