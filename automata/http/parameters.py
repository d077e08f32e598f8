"""Parameters of an address that a route does not know are refused: `?stauts=FAILED` would get everything."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from automata.errors import Diagnostic, Invalid

_KNOWN = "automata_known_parameters"


def know_parameters(routes: Iterable[BaseRoute]) -> None:
    """Have these routes refuse every parameter of a query that they do not declare."""
    for route in routes:
        if isinstance(route, APIRoute):
            setattr(route, _KNOWN, frozenset(_declared(route.dependant)))


def check_parameters(request: Request) -> None:
    """Raises Invalid (`unknown_parameter`, 422) that names each one, and the nearest that there is."""
    known: frozenset[str] | None = getattr(request.scope.get("route"), _KNOWN, None)
    if known is None or not request.scope.get("query_string"):
        return
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if not unknown:
        return
    findings = [_finding(name, known) for name in unknown]
    raise Invalid(
        findings[0].message,
        code="unknown_parameter",
        hint=findings[0].suggestion,
        pointer=findings[0].pointer,
        diagnostics=findings,
    )


def _finding(name: str, known: frozenset[str]) -> Diagnostic:
    shown = name[:60] if name.isprintable() else ascii(name)[1:61]
    close = difflib.get_close_matches(name[:60], known, n=1)
    listed = ", ".join(f"`{other}`" for other in sorted(known))
    hint = f"Did you mean `{close[0]}`?" if close else f"There are {listed}." if known else "It takes none."
    return Diagnostic("unknown_parameter", f"There is no parameter `{shown}`.", pointer="/query", suggestion=hint)


def _declared(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for needed in dependant.dependencies:
        yield from _declared(needed)
