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

from automata.access.oidc import CALLBACK, SHOWN_VALUES, NotLetIn, Person, person_of, principal_of
from automata.access.pending import LIVES, Pending, begin, resume, use_up
from automata.access.provider import MAX_CODE_CHARS, Provider
from automata.api.auth import anyone
from automata.api.desk import Desk
from automata.api.entrance import Entrance, address_of, request_id
from automata.api.signin import onward, open_session
from automata.errors import AutomataError, Missing
from automata.store.audit import Actor, Deed, record
from automata.web.page import HEADERS, PageRoute
from automata.web.signin import START, Next, page

COOKIE = "automata_sign_in"
NOBODY = "none"  # the role of who is not let in
log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)
Code = Annotated[str, Query(max_length=MAX_CODE_CHARS)]
Word = Annotated[str, Query(max_length=1_000)]


@router.get(START, dependencies=[anyone()])
async def start(request: Request, onto: Next = "/") -> Response:
    """Leads to the provider's page."""
    entrance, onto = Desk.of(request).entrance, onward(onto)
    try:
        pending = await begin(entrance.sessions, onto)
        address = await _provider(entrance).leads_to(pending)
    except AutomataError as error:
        return page(request, onto, error)
    entrance.set_cookie(request, pending.cookie, COOKIE, LIVES)
    return RedirectResponse(address, 303, headers=HEADERS)


@router.get(CALLBACK, dependencies=[anyone()])
async def come_back(
    request: Request, state: Word = "", code: Code = "", error: Word = "", iss: Word | None = None
) -> Response:
    """Opens the session, or says on the page for signing in why not."""
    entrance = Desk.of(request).entrance
    entrance.check_failures(request)
    onto = "/"
    try:
        pending = await _pending(request, entrance, state)
        onto = pending.onto
        await _let_in(request, entrance, pending, code, error, iss)
    except AutomataError as why:
        entrance.count_failure(request)
        return page(request, onto, why)
    return RedirectResponse(onto, 303, headers=HEADERS)


async def _pending(request: Request, entrance: Entrance, state: str) -> Pending:
    """The sign-in that this answers; from here on it is used up. Raises NotLetIn."""
    provider = _provider(entrance)
    found = await resume(entrance.sessions, entrance.cookie_of(request, COOKIE), state)
    if found is None or not await use_up(Desk.of(request).db, found):
        own = provider.config.redirect_uri.removesuffix(CALLBACK)
        raise NotLetIn(
            "This answer belongs to no sign-in of this browser that is under way.",
            code="bad_state",
            hint=f"It was used already, is older than ten minutes, or began elsewhere. Begin again, at {own}.",
        )
    entrance.set_cookie(request, "", COOKIE)
    return found


async def _let_in(
    request: Request, entrance: Entrance, pending: Pending, code: str, error: str, iss: str | None
) -> None:
    provider = _provider(entrance)
    if error or not code:
        raise _not_given(provider, error)
    try:
        person = person_of(provider.config, await provider.redeem(pending, code, iss))
    except NotLetIn as why:
        await _note(request, provider, None, why)
        raise
    try:
        principal = principal_of(provider.config, person)
    except NotLetIn as why:
        await _note(request, provider, person, why)
        raise
    facts = {"mail": principal.mail, "role": principal.role.word, "issuer": provider.config.issuer}
    await open_session(request, principal, lives=provider.config.lives, facts=facts)


async def _note(request: Request, provider: Provider, person: Person | None, why: NotLetIn) -> None:
    """Only what the provider itself has answered is told to the log of changes: strangers cannot fill it."""
    name = person.name if person else NOBODY
    facts = {"why": why.code, "issuer": provider.config.issuer}
    if person:
        facts |= {"mail": person.mail, provider.config.claim: ", ".join(person.values[:SHOWN_VALUES])}
    actor = Actor(name, NOBODY, address=address_of(request), request_id=request_id(request))
    async with Desk.of(request).db.transaction() as conn:
        await record(conn, actor, Deed("session.refuse", f"person/{name}", None, facts))


def _not_given(provider: Provider, error: str) -> NotLetIn:
    name = provider.config.name
    if error == "access_denied":
        return NotLetIn(f"{name} says that you may not, or did not want to, sign in here.", code="access_denied")
    log.warning("the provider refused a sign-in", extra={"issuer": provider.config.issuer, "why": error[:100]})
    return NotLetIn(f"{name} did not sign you in.", code="not_signed_in", hint=f"It says {error[:100] or 'nothing'!r}.")


def _provider(entrance: Entrance) -> Provider:
    if entrance.provider is None:
        raise Missing("Nobody but tokens lets in here.", hint="AUTOMATA_OIDC_ISSUER names a provider of people.")
    return entrance.provider
