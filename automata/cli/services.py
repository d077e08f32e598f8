"""`automata api|scheduler|orchestrator|worker`: one part of the product as a process of its own, any number of each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import Format, Output, say, say_json
from automata.settings import load

if TYPE_CHECKING:
    from automata.services.process import Running

PORTS = {"api": 8080, "scheduler": 8081, "worker": 8082, "orchestrator": 8083}

Host = Annotated[str | None, typer.Option("--host", help="Listen here.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Listen here; 0 is any free one.", show_default=False)
]


def api(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run the REST API alone, on port 8080."""
    _serve("api", output, host=host, port=port)


def scheduler(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run a scheduler: of any number one leads and starts runs. Health and metrics on port 8081."""
    _serve("scheduler", output, host=host, port=port)


def orchestrator(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run an orchestrator: it decides what happens next in runs. Health and metrics on port 8083."""
    _serve("orchestrator", output, host=host, port=port)


def worker(
    host: Host = None,
    port: Port = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, max=100_000, help="Steps side by side.", show_default="500"),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option("--queues", help="Queues to take steps from, with commas.", show_default="default"),
    ] = None,
    allow_loopback: Annotated[
        bool | None,
        typer.Option("--allow-loopback", help="Let flows call this machine (for development).", show_default=False),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Run a worker: it makes the calls of steps. Health and metrics on port 8082."""
    _serve(
        "worker",
        output,
        host=host,
        port=port,
        concurrency=concurrency,
        queues=queues,
        allow_loopback=allow_loopback,
    )


def _serve(part: str, output: Format, *, port: int | None, **flags: Any) -> None:
    """Run one part until SIGTERM or SIGINT. It waits for a database that is not there yet, or not migrated."""
    from automata.api.app import create_app, create_health_app
    from automata.cli.database import database
    from automata.cli.up import runner
    from automata.services.process import serve
    from automata.telemetry import configure_logs

    if port is None and "AUTOMATA_PORT" not in os.environ:
        port = PORTS[part]
    settings = load(port=port, **flags)
    configure_logs(settings.log_level, settings.log_format)

    async def on_ready(running: Running) -> None:
        if output is Format.JSON:
            event = {"event": "ready", "message": f"{part} on {running.address}", "part": part, "url": running.address}
            say_json(event, indent=None)
        else:
            say(f"{part} on {running.address}  (/healthz, /readyz, /metrics)")

    make_app = create_app if part == "api" else create_health_app
    with database(settings) as url, runner() as loop:
        loop.run(serve(settings, url, make_app, parts={part}, patient=True, on_ready=on_ready))
