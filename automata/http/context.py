"""From a request to what its application works with."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from automata.operations.context import AppContext


def context_of(request: Request) -> AppContext:
    """The context of the request's application."""
    return cast(AppContext, request.app.state.context)
