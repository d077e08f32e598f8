"""Signing in by an OpenID Connect provider: to its page, and back from it with a code.

Failure argument. Whoever comes back is let in by a cookie of ours, its state, a code that has not been used, and an ID
token that the provider signs for this very sign-in; whatever is missing, nothing is opened. The order matters: an
answer that belongs to no sign-in of this browser costs neither a row nor a call, and one that failed costs its address
a guess.
"""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from automata.access.oidc import CALLBACK, SHOWN_VALUES, AccessDenied, Person, person_of, principal_of
from automata.access.pending_signin import PENDING_TTL, PendingSignin, begin, resume, use_up
from automata.access.provider import MAX_CODE_CHARS, Provider
from automata.errors import AutomataError, Missing
from automata.http.authentication import Authenticator, address_of, authenticator_of, request_id
from automata.http.authorization import open_to_everybody
from automata.http.context import context_of
from automata.http.sign_in import local_path, open_session
from automata.store.audit import Actor, AuditEvent, record_change_by
from automata.web.page import HEADERS, PageRoute
from automata.web.signin import START, Next, page

COOKIE = "automata_sign_in"
NOBODY = "none"  # the role of who is not let in
log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)
Code = Annotated[str, Query(max_length=MAX_CODE_CHARS)]
Word = Annotated[str, Query(max_length=1_000)]


@router.get(START, dependencies=[open_to_everybody()])
async def start(request: Request, onto: Next = "/") -> Response:
    """Leads to the provider's page."""
    authenticator, onto = authenticator_of(request), local_path(onto)
    try:
        pending = await begin(authenticator.sessions, onto)
        address = await _provider(authenticator).authorization_url(pending)
    except AutomataError as error:
        return page(request, onto, error)
    authenticator.set_cookie(request, pending.cookie, COOKIE, PENDING_TTL)
    return RedirectResponse(address, 303, headers=HEADERS)


@router.get(CALLBACK, dependencies=[open_to_everybody()])
async def come_back(
    request: Request, state: Word = "", code: Code = "", error: Word = "", iss: Word | None = None
) -> Response:
    """Opens the session, or says on the page for signing in why not."""
    authenticator = authenticator_of(request)
    authenticator.check_failures(request)
    onto = "/"
    try:
        pending = await _pending(request, authenticator, state)
        onto = pending.return_to
        await _let_in(request, authenticator, pending, code, error, iss)
    except AutomataError as why:
        authenticator.count_failure(request)
        return page(request, onto, why)
    return RedirectResponse(onto, 303, headers=HEADERS)


async def _pending(request: Request, authenticator: Authenticator, state: str) -> PendingSignin:
    """The sign-in that this answers; from here on it is used up. Raises NotLetIn."""
    provider = _provider(authenticator)
    pending = await resume(authenticator.sessions, authenticator.cookie_of(request, COOKIE), state)
    if pending is None or not await use_up(context_of(request).db, pending):
        own = provider.config.redirect_uri.removesuffix(CALLBACK)
        raise AccessDenied(
            "This answer belongs to no sign-in of this browser that is under way.",
            code="bad_state",
            hint=f"It was used already, is older than ten minutes, or began elsewhere. Begin again, at {own}.",
        )
    authenticator.set_cookie(request, "", COOKIE)
    return pending


async def _let_in(
    request: Request, authenticator: Authenticator, pending: PendingSignin, code: str, error: str, iss: str | None
) -> None:
    provider = _provider(authenticator)
    if error or not code:
        raise _not_given(provider, error)
    try:
        person = person_of(provider.config, await provider.redeem(pending, code, iss))
    except AccessDenied as why:
        await _note(request, provider, None, why)
        raise
    try:
        principal = principal_of(provider.config, person)
    except AccessDenied as why:
        await _note(request, provider, person, why)
        raise
    facts = {"mail": principal.mail, "role": principal.role.word, "issuer": provider.config.issuer}
    await open_session(request, principal, ttl=provider.config.ttl, facts=facts)


async def _note(request: Request, provider: Provider, person: Person | None, why: AccessDenied) -> None:
    """Only what the provider itself has answered is told to the log of changes: strangers cannot fill it."""
    name = person.name if person else NOBODY
    facts = {"why": why.code, "issuer": provider.config.issuer}
    if person:
        facts |= {"mail": person.mail, provider.config.claim: ", ".join(person.values[:SHOWN_VALUES])}
    actor = Actor(name, NOBODY, address=address_of(request), request_id=request_id(request))
    async with context_of(request).db.transaction() as conn:
        await record_change_by(conn, actor, AuditEvent("session.refuse", f"person/{name}", None, facts))


def _not_given(provider: Provider, error: str) -> AccessDenied:
    name = provider.config.name
    if error == "access_denied":
        return AccessDenied(f"{name} says that you may not, or did not want to, sign in here.", code="access_denied")
    log.warning("the provider refused a sign-in", extra={"issuer": provider.config.issuer, "why": error[:100]})
    return AccessDenied(
        f"{name} did not sign you in.", code="not_signed_in", hint=f"It says {error[:100] or 'nothing'!r}."
    )


def _provider(authenticator: Authenticator) -> Provider:
    if authenticator.provider is None:
        raise Missing("Nobody but tokens lets in here.", hint="AUTOMATA_OIDC_ISSUER names a provider of people.")
    return authenticator.provider
