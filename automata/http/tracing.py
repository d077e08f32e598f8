"""Where traces are on: remembers which trace a request belongs to, for the run that it may start."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from automata.tracing import HEADER, INCOMING, valid_traceparent


class TracingMiddleware:
    """Keeps the trace that a request's header names for as long as the request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == HEADER.encode()]
        # Two of them contradict each other; the recommendation has them both ignored.
        token = INCOMING.set(valid_traceparent(sent[0]) if len(sent) == 1 else None)
        try:
            await self._app(scope, receive, send)
        finally:
            INCOMING.reset(token)
