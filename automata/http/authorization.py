"""What a request may do: every route names the least role that it takes, or that it is open to everybody.

`check_every_route` refuses to build an application with a route that names neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hmac import compare_digest
from typing import Any, TypeVar, cast

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.staticfiles import StaticFiles

from automata.access.principal import Principal, Role
from automata.access.sessions import Session
from automata.git.branches import Person
from automata.http.authentication import actor_of, authenticator_of
from automata.http.context import context_of
from automata.http.errors import Forbidden
from automata.http.in_flight import PROBES
from automata.http.parameters import check_parameters
from automata.proposals.participants import Participant
from automata.settings import Settings
from automata.store.audit import set_actor
from automata.store.flow_visibility import set_viewer_labels

_MARK, _KEEPS = "automata_least_role", "automata_keeps_to_limits"
Claim = TypeVar("Claim", bound=str | None)


def current_principal(request: Request) -> Principal:
    """Who sent this request. `needs` of its route has found that out."""
    return cast(Principal, request.scope["automata.principal"])


def principal_if_known(request: Request) -> Principal | None:
    """The same; None where no route has asked yet: an error, a page for everybody."""
    return request.scope.get("automata.principal")


def session_of(request: Request) -> Session | None:
    """The session of the request's cookie; None for a token, and where the server asks nobody who they are."""
    return request.scope.get("automata.session")


def csrf_token(request: Request) -> str:
    """What forms send as `csrf_token`, and scripts as X-CSRF-Token. Empty without a session."""
    return str(request.scope.get("automata.csrf", ""))


def attribution(request: Request, claimed: Claim) -> Claim | str:
    """Who did it. What the request claims counts only where the server asks nobody who they are."""
    return claimed if authenticator_of(request).open else str(current_principal(request))


def acting_person(request: Request, claimed: str | None = None) -> Person:
    """Who asks, as commits name people, and what let them in.

    Raises Forbidden (`as_refused`) for a claim to be somebody else; Invalid.
    """
    principal = current_principal(request)
    if not authenticator_of(request).open and claimed is not None:
        raise Forbidden(f"You are {principal.name}, and cannot say otherwise.", code="as_refused", pointer="/as")
    if claimed:
        return Person.read(claimed)
    return Participant(principal.name, principal.mail, principal.identity)


def needs(
    role: Role,
    *,
    limits: bool = False,
    unless: Callable[[Settings], bool] | None = None,
    or_token: Callable[[Settings], str] | None = None,
) -> Any:
    """A route's dependency: 401 for an unknown caller, 403 (`forbidden`) for one with less than `role`.

    `limits`: all that the route reads and changes keeps to the flows that the caller is limited to
    (store/flow_visibility.py). Any other route refuses such callers, so one that nobody thought about shows them
    nothing.
    `unless` is a setting that opens the route to all, `or_token` one that holds a token for this route alone.
    """

    async def check(request: Request) -> None:
        context = context_of(request)
        if unless and unless(context.settings):
            authenticator_of(request).throttle_anonymous(request)
            set_viewer_labels({})
            check_parameters(request)
            return
        if or_token and _bears(request, or_token(context.settings)):
            set_viewer_labels({})
            check_parameters(request)
            return
        principal = await authenticator_of(request).authenticate(request)
        set_actor(actor_of(request))
        if principal.role < role:
            raise Forbidden(f"This takes the role {role.word}, and {principal.name} is a {principal.role.word}.")
        if principal.labels and not limits:
            raise Forbidden(f"This is about all flows, and {principal.name} is limited to some.", code="limited")
        set_viewer_labels(principal.labels)
        check_parameters(request)

    setattr(check, _MARK, role)
    setattr(check, _KEEPS, limits)
    return Depends(check)


def _bears(request: Request, token: str) -> bool:
    sent = request.headers.getlist("authorization")
    return bool(token) and len(sent) == 1 and compare_digest(sent[0].encode(), f"Bearer {token}".encode())


def open_to_everybody() -> Any:
    """The dependency of a route that needs no role."""

    async def check(request: Request) -> None:
        if request.url.path not in PROBES:
            authenticator_of(request).throttle_anonymous(request)
        set_viewer_labels({})
        check_parameters(request)

    setattr(check, _MARK, None)
    return Depends(check)


def check_every_route(app: FastAPI) -> FastAPI:
    """The app, when each of its routes names whom it takes. Raises RuntimeError otherwise.

    A route may ask for more than its router does, but not be open where that asks.
    """
    for path, methods, roles in declared_roles(app):
        if not roles or (None in roles and len(roles) > 1):
            declaration = "that it is open, and not only that" if roles else "no role"
            raise RuntimeError(
                f"{'/'.join(sorted(methods))} {path} declares {declaration}: give it needs(...) or anyone()"
            )
    return app


def least_role(roles: Sequence[Role | None]) -> Role | None:
    """What the roles that a route declares come to; None where it is open to everybody."""
    return max((role for role in roles if role is not None), default=None)


def declared_roles(app: FastAPI) -> Iterator[tuple[str, frozenset[str], list[Role | None]]]:
    """(path, methods, roles) of every route; None for one that is open to everybody."""
    for route in iter_route_contexts(app.routes):
        path, methods = str(getattr(route, "path", "?")), frozenset(getattr(route, "methods", None) or {"GET"})
        dependant = getattr(route, "dependant", None)
        if isinstance(dependant, Dependant):
            yield path, methods, _roles(dependant)
        else:
            # Files that are the same for everybody; any other application that is mounted would answer unasked.
            yield path, methods, [None] if isinstance(getattr(route, "app", None), StaticFiles) else []


def routes_within_limits(app: FastAPI) -> set[tuple[str, str]]:
    """(path, method) of the routes that take whoever is limited to some flows: all that it needs keep to them."""
    routes = set()
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        calls = [dependency.call for dependency in dependant.dependencies] if isinstance(dependant, Dependant) else []
        kept = [getattr(call, _KEEPS) for call in calls if hasattr(call, _KEEPS)]
        if kept and all(kept):
            path, methods = str(getattr(route, "path", "?")), getattr(route, "methods", None) or {"GET"}
            routes |= {(path, method) for method in methods}
    return routes


def _roles(dependant: Dependant) -> list[Role | None]:
    calls = (dependency.call for dependency in dependant.dependencies)
    return [getattr(call, _MARK) for call in calls if hasattr(call, _MARK)]
