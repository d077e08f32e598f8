"""What a request may do: every route names the least role it takes."""

from __future__ import annotations

from typing import Any, cast

from fastapi import Depends, Request

from automata.access.principal import LOCAL, Principal, Role
from automata.api.refusals import Forbidden


def who(request: Request) -> Principal:
    """Whom the guard found this request to be from."""
    return cast(Principal, request.scope.get("automata.principal", LOCAL))


def needs(role: Role) -> Any:
    """A route's dependency: 403 (`forbidden`) for whoever has less than `role`."""

    def check(request: Request) -> None:
        if (found := who(request)).role < role:
            raise Forbidden(f"This takes the role {role.word}, and {found.name} is a {found.role.word}.")

    return Depends(check)
