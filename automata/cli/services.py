"""`automata api|scheduler|orchestrator|worker|controller`: one part of the product as a process, any number of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import Format, Output, say, say_json
from automata.errors import Usage
from automata.settings import MOST_PROCESSES, load

if TYPE_CHECKING:
    from automata.services.process import Part, Running
    from automata.settings import Settings
    from automata.store.database import Database
    from automata.sync.source import Source

PORTS = {"api": 8080, "scheduler": 8081, "worker": 8082, "orchestrator": 8083, "controller": 8084}
MULTIPLE = ("worker", "orchestrator")  # what takes --processes

Host = Annotated[str | None, typer.Option("--host", help="Listen here.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Listen here; 0 is any free one.", show_default=False)
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        max=MOST_PROCESSES,
        help="As many processes on this machine; one that dies is started again.",
        show_default="1",
    ),
]
UntilEof = Annotated[bool, typer.Option("--until-eof", hidden=True, help="Drain when stdin ends.")]


def api(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run the REST API and the web console, on port 8080."""
    _serve("api", output, host=host, port=port)


def scheduler(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run a scheduler: of any number one leads and starts runs. Health and metrics on port 8081."""
    _serve("scheduler", output, host=host, port=port)


def orchestrator(
    host: Host = None,
    port: Port = None,
    processes: Processes = None,
    until_eof: UntilEof = False,
    output: Output = Format.TABLE,
) -> None:
    """Run an orchestrator: it decides what happens next in runs. Health and metrics on port 8083."""
    _serve("orchestrator", output, host=host, port=port, processes=processes, until_eof=until_eof)


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
    processes: Processes = None,
    orchestrate: Annotated[
        bool,
        typer.Option("--orchestrate", help="Be an orchestrator too: the two hand each other steps, as in `up`."),
    ] = False,
    until_eof: UntilEof = False,
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
        processes=processes,
        beside=("orchestrator",) if orchestrate else (),
        until_eof=until_eof,
    )


def controller(
    repo: Annotated[
        str | None,
        typer.Option("--repo", help="Flows repository: a folder, a bare repository or a URL.", show_default=False),
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", help="The branch to follow.", show_default="the environment's, else main")
    ] = None,
    env: Annotated[str | None, typer.Option("--env", help="The environment.", show_default="prod")] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="The project's folder inside the repository.", show_default=False)
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="repo=URL[,env=NAME][,branch=NAME][,path=FOLDER]",
            help="One of several sources to follow; instead of --repo and those beside it.",
            show_default=False,
        ),
    ] = None,
    interval_sec: Annotated[
        float | None, typer.Option("--interval-sec", help="Between two looks at a branch.", show_default="60")
    ] = None,
    host: Host = None,
    port: Port = None,
    output: Output = Format.TABLE,
) -> None:
    """Keep the flows at the head of their branches: of one source, or of several. Health on port 8084.

    A commit with a file that is wrong changes nothing, and the next commit is waited for. Credentials come from
    AUTOMATA_GIT_TOKEN, AUTOMATA_GIT_USERNAME and AUTOMATA_GIT_SSH_KEY.
    """
    if sources and (repo or path or branch):
        raise Usage("--source names its own repository, branch and folder: leave out --repo, --branch and --path.")
    flags: dict[str, Any] = {"repo": repo, "repo_path": path, "environment": env, "sync_interval_sec": interval_sec}
    flags["sources"] = sources or (() if repo else None)
    _serve("controller", output, host=host, port=port, branch_of=branch or os.environ.get("AUTOMATA_BRANCH"), **flags)


def controllers_of(settings: Settings, branch: str | None) -> dict[str, Callable[[Database], Part]]:
    """What makes the loop of each source, by the name that health shows. Raises Usage for a source that cannot be."""
    from automata.proposals.forge import forge_of
    from automata.services.controller import Controller, Pace, source_label
    from automata.sync.source import source_of, sources_of

    def loop(source: Source) -> Callable[[Database], Part]:
        forge = forge_of(settings, source)
        return lambda db: Controller(db, source, Pace.of(settings), forge).run

    if not settings.sources:
        return {"controller": loop(source_of(settings, branch))}
    return {
        f"controller of {source_label(source)} ({source.environment})": loop(source) for source in sources_of(settings)
    }


def _serve(
    part: str,
    output: Format,
    *,
    port: int | None,
    branch_of: str | None = None,
    beside: tuple[str, ...] = (),
    until_eof: bool = False,
    **flags: Any,
) -> None:
    """Run one part until SIGTERM or SIGINT. It waits for a database that is not there yet, or not migrated."""
    from automata.api.app import create_health_app
    from automata.cli.database import database
    from automata.cli.first import FIRST, admin_token
    from automata.cli.site import create_site
    from automata.cli.up import runner
    from automata.services.crew import helpers
    from automata.services.process import serve
    from automata.telemetry import configure_logs

    if port is None and "AUTOMATA_PORT" not in os.environ:
        port = PORTS[part]
    settings = load(port=port, **flags)
    more = controllers_of(settings, branch_of) if part == "controller" else {}
    configure_logs(settings.log_level, settings.log_format)

    async def on_ready(running: Running) -> None:
        if output is Format.JSON:
            event = {"event": "ready", "message": f"{part} on {running.address}", "part": part, "url": running.address}
            say_json(event, indent=None)
        else:
            say(f"{part} on {running.address}  (/healthz, /readyz, /metrics)")

    async def on_database(db: Database) -> None:
        if text := await admin_token(db, settings):
            event = {"event": "admin token", "message": FIRST, "token": text}
            say_json(event, indent=None) if output is Format.JSON else say(f"{FIRST}\n{text}")

    make_app = create_site if part == "api" else create_health_app
    first = on_database if part == "api" else None
    words = (part, *(["--orchestrate"] if beside else []))
    with database(settings) as url, runner() as loop:
        loop.run(
            serve(
                settings,
                url,
                make_app,
                parts={part, *beside},
                patient=True,
                on_ready=on_ready,
                more=more,
                on_database=first,
                helpers=helpers(settings, url, *words) if part in MULTIPLE else (),
                until_eof=until_eof,
            )
        )
