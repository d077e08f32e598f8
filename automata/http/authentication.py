"""Whom a request is from: a token in the Authorization header, or the cookie of somebody who is signed in.

Failure argument. What is not known to be good is refused; a database that does not answer refuses too (503). An
unknown, an expired and a revoked token get the same answer. Guesses cost their address drops of a bucket before the
database is asked; a token that was good a moment ago is asked about even when its neighbours have emptied it, so
nobody can lock others out by guessing. What is kept for each asker is bounded in number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import parse_qsl
from uuid import uuid4

from fastapi import Request

from automata.access.exposure import authenticates
from automata.access.principal import LOCAL, Principal
from automata.access.provider import Provider
from automata.access.rate_limiter import RateLimiter, client_key
from automata.access.sessions import SESSION_TTL, Session, Sessions
from automata.access.tokens import Tokens
from automata.errors import Busy
from automata.http.bodies import media_type, read_body
from automata.http.errors import CrossSite, Unauthenticated
from automata.http.request_checks import SAFE
from automata.operations.context import AppContext
from automata.store.audit import Actor

COOKIE = "automata_session"
SECURE = "__Host-"  # browsers take a cookie of such a name over https alone, and for no other host
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
MAX_FIELDS = 2000
FORM_MEDIA = "application/x-www-form-urlencoded"
BURST_SEC = 2  # seconds' worth of requests may come at once
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Authenticator:
    """`open`: nobody has to say who they are. `authenticate` is called for every route that needs a role."""

    open: bool
    tokens: Tokens
    sessions: Sessions
    rates: RateLimiter
    anonymous_limiter: RateLimiter
    failures: RateLimiter
    secure: bool  # whether browsers come over https
    provider: Provider | None = None  # who else vouches for people

    @classmethod
    def of(cls, context: AppContext, provider: Provider | None = None) -> Authenticator:
        """Raises Refused for an exposure that the settings do not allow."""
        settings = context.settings
        failed = settings.failed_auth_per_min
        return cls(
            open=not authenticates(settings),
            tokens=context.tokens,
            sessions=context.sessions,
            rates=RateLimiter(settings.rate_per_sec, settings.rate_per_sec * BURST_SEC),
            anonymous_limiter=RateLimiter(settings.anonymous_rate_per_sec, settings.anonymous_rate_per_sec * BURST_SEC),
            failures=RateLimiter(failed / 60, failed),
            secure=settings.public_url.startswith("https:"),
            provider=provider,
        )

    async def authenticate(self, request: Request) -> Principal:
        """Whom the request is from, kept with it. Raises Unauthenticated, CrossSite, Busy, Unavailable."""
        if known := request.scope.get("automata.principal"):
            return known  # type: ignore[no-any-return]
        principal = LOCAL if self.open else await self._known(request)
        request.scope["automata.principal"] = principal
        return principal

    def throttle_anonymous(self, request: Request) -> None:
        """What a route that everybody may ask takes. Raises Busy."""
        if not self.open:
            _take(self.anonymous_limiter, client_key(address_of(request)))

    async def _known(self, request: Request) -> Principal:
        headers = request.headers.getlist("authorization")
        if headers:
            principal = await self._bearer(request, headers)
            _take(self.rates, str(principal.token_id))
            return principal
        cookie = self.cookie_of(request)
        session = await self.sessions.session_of(cookie) if cookie else None
        if session is None:
            self.throttle_anonymous(request)
            raise Unauthenticated(
                "Nothing says who asks.",
                hint="Send the header Authorization: Bearer TOKEN; `automata token create` makes one.",
            )
        _take(self.rates, str(session.id))
        if request.method not in SAFE:
            await self._check_csrf(request, session)
        if fresh := await self.sessions.renew(session, cookie):
            self.set_cookie(request, fresh)
        request.scope["automata.session"] = session
        request.scope["automata.csrf"] = await self.sessions.csrf_token(session)  # for the forms of the page
        return session.principal

    async def _bearer(self, request: Request, headers: list[str]) -> Principal:
        scheme, _, text = headers[0].partition(" ")
        token = text.strip() if len(headers) == 1 and scheme.lower() == "bearer" else ""
        principal = await self.principal_of_token(request, token)
        if principal is None:
            # The same words for all that is not good: which tokens there are, or were, is nobody's business.
            raise Unauthenticated(
                "The token is not good.",
                code="bad_token",
                hint="It is unknown, has expired or was revoked.",
                challenge='Bearer realm="automata", error="invalid_token"',
            )
        return principal

    async def principal_of_token(self, request: Request, token: str) -> Principal | None:
        """Whom a token lets in. Raises Busy for an address that guesses, Unavailable."""
        if not self.tokens.was_good(token):
            self.check_failures(request)
        principal = await self.tokens.principal(token)
        if principal is None:
            self.count_failure(request)
        return principal

    def check_failures(self, request: Request) -> None:
        """Raises Busy for an address that guesses."""
        if wait := self.failures.wait(client_key(address_of(request))):
            raise _too_often(wait)

    def count_failure(self, request: Request) -> None:
        """One more token that was not good, from this address."""
        self.failures.take(client_key(address_of(request)))

    async def _check_csrf(self, request: Request, session: Session) -> None:
        token = request.headers.get(CSRF_HEADER, "")
        if not token and media_type(request) == FORM_MEDIA:
            token = (await read_form(request)).get(CSRF_FIELD, "")
        if not await self.sessions.check_csrf(session, token):
            raise CrossSite(
                "This change does not come from a page of this server.",
                code="bad_csrf_token",
                hint="Reload the page and try again.",
            )

    def is_secure(self, request: Request) -> bool:
        """Whether the browser came over https."""
        return self.secure or request.scope.get("scheme") == "https"

    def cookie_name(self, request: Request, name: str = COOKIE) -> str:
        """The name of a cookie, by which browsers also hold it to https."""
        return f"{SECURE}{name}" if self.is_secure(request) else name

    def set_cookie(self, request: Request, value: str, name: str = COOKIE, ttl: timedelta = SESSION_TTL) -> None:
        """The answer sets the session's cookie, or another; an empty one takes it away."""
        age = int(ttl.total_seconds()) if value else 0
        parts = [f"{self.cookie_name(request, name)}={value}", f"Max-Age={age}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if self.is_secure(request):
            parts.append("Secure")
        request.scope.setdefault("automata.cookies", []).append("; ".join(parts).encode("ascii"))

    def cookie_of(self, request: Request, name: str = COOKIE) -> str:
        """The cookie's value, empty where the request has none."""
        return request.cookies.get(self.cookie_name(request, name), "")


def authenticator_of(request: Request) -> Authenticator:
    """The authenticator of the request's application."""
    return cast(Authenticator, request.app.state.authenticator)


def actor_of(request: Request) -> Actor:
    """Who acts, as the log of changes has it."""
    return actor_for(request, request.scope["automata.principal"])


def actor_for(request: Request, principal: Principal) -> Actor:
    """Somebody who is being let in by this request."""
    return Actor(principal.name, principal.role.word, principal.token_id, address_of(request), request_id(request))


def request_id(request: Request) -> str:
    """The caller's X-Request-Id where it is a plain word, else one of ours."""
    if not (id := request.scope.get("automata.request_id")):
        header = request.headers.get("x-request-id", "")
        id = request.scope["automata.request_id"] = header if _REQUEST_ID.fullmatch(header) else uuid4().hex
    return str(id)


def address_of(request: Request) -> str:
    """The address that the request came from, empty where that is unknown."""
    return request.client.host if request.client else ""


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form, the last where one is there twice; none where it cannot be read. Raises TooLarge."""
    body = await read_body(request)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def _take(buckets: RateLimiter, key: str) -> None:
    if wait := buckets.take(key):
        raise _too_often(wait)


def _too_often(wait_sec: float) -> Busy:
    seconds = max(1, math.ceil(wait_sec))
    return Busy(
        "More requests than one asker may send.",
        code="rate_limited",
        hint=f"Try again in {seconds} s.",
        details={"retry_after_sec": seconds},
    )
