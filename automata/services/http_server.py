"""The HTTP server of a process: one socket, bound before anything else starts, and a server that ends on an event."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import uvicorn

from automata.errors import Unavailable, Usage
from automata.services.http_connections import Connections
from automata.services.http_protocol import protocol_of

BACKLOG = 2048
GRACE_SEC = 10  # for requests that are being answered when the end is called


def bind(host: str, port: int) -> socket.socket:
    """Raises Usage (`address_in_use`)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # A client that knows the address may call at once: the kernel keeps the connection until we accept it.
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Usage(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            code="address_in_use",
            hint="Is another one running? Choose another port with --port, or --port 0 for any free one.",
        ) from error
    listening.set_inheritable(False)
    return listening


def address(host: str, listening: socket.socket) -> str:
    """The URL of a bound socket, with its real port."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


async def serve_http(app: Any, listening: socket.socket, until: asyncio.Event, proxies: Sequence[str] = ()) -> None:
    """Answer the requests of an application of automata.api until `until` is set, then finish those under way.

    `proxies`: the addresses and networks of those who are believed whom a request is from. Raises Unavailable if it
    ends before.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=protocol_of(Connections(proxies)),
            # Else whatever is on this machine would be believed.
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SEC,
            lifespan="off",
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    ending = asyncio.create_task(until.wait())
    await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    # Long polls and streams answer now, instead of holding the end up for GRACE_SEC.
    app.state.context.stopping.set()
    server.should_exit = True
    await task
    if not until.is_set():
        raise Unavailable("the HTTP server stopped by itself")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: one place decides when to drain."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
