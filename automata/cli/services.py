"""`automata api|scheduler|orchestrator|worker|controller`: one part of the product as a process, any number of each."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.composition import (
    API,
    CONTROLLER,
    ORCHESTRATOR,
    PARTS,
    SCHEDULER,
    WORKER,
    compose,
    runner,
    show_admin_token,
)
from automata.cli.options import Env, Host, Output, Port, Processes, ProjectPath, RepoUrl
from automata.cli.output import Format
from automata.cli.service_output import Tell, begin_logs, tell_token, teller
from automata.errors import Usage
from automata.settings import load, warn_of_unknown_variables

if TYPE_CHECKING:
    from automata.services.process import RunningProcess

UntilEof = Annotated[bool, typer.Option("--until-eof", hidden=True, help="Drain when stdin ends.")]


def api(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run the REST API and the web console, on port 8080."""
    _run(API, output, host=host, port=port)


def scheduler(host: Host = None, port: Port = None, output: Output = Format.TABLE) -> None:
    """Run a scheduler: of any number one leads and starts runs. Health and metrics on port 8081."""
    _run(SCHEDULER, output, host=host, port=port)


def orchestrator(
    host: Host = None,
    port: Port = None,
    processes: Processes = None,
    until_eof: UntilEof = False,
    output: Output = Format.TABLE,
) -> None:
    """Run an orchestrator: it decides what happens next in runs. Health and metrics on port 8083."""
    _run(ORCHESTRATOR, output, host=host, port=port, processes=processes, until_eof=until_eof)


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
    _run(
        WORKER,
        output,
        host=host,
        port=port,
        concurrency=concurrency,
        queues=queues,
        allow_loopback=allow_loopback,
        processes=processes,
        beside=(ORCHESTRATOR,) if orchestrate else (),
        until_eof=until_eof,
    )


def controller(
    repo: RepoUrl = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch", help="The branch to follow.", show_default="the environment's, else the default branch"
        ),
    ] = None,
    env: Env = None,
    path: ProjectPath = None,
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
    branch = branch or os.environ.get("AUTOMATA_BRANCH")
    _run(CONTROLLER, output, host=host, port=port, followed_branch=branch, **flags)


def _run(
    part: str,
    output: Format,
    *,
    port: int | None,
    followed_branch: str | None = None,
    beside: tuple[str, ...] = (),
    until_eof: bool = False,
    **flags: Any,
) -> None:
    """Run one part until SIGTERM or SIGINT. It waits for a database that is not there yet, or not migrated."""
    from automata.cli.database import database
    from automata.services.process import serve
    from automata.services.supervisor import child_processes

    if port is None and "AUTOMATA_PORT" not in os.environ:
        port = PARTS[part].port
    settings = load(port=port, **flags)
    begin_logs(settings)
    tell = teller(settings, output)
    composition = compose(settings, {part, *beside}, branch=followed_branch)
    if not until_eof:  # the process that started this one has said it
        warn_of_unknown_variables()
    command = (part, *(["--orchestrate"] if beside else []))
    show_token = partial(show_admin_token, settings, partial(tell_token, tell))
    with database(settings) as url, runner() as loop:
        loop.run(
            serve(
                settings,
                url,
                composition,
                patient=True,
                on_ready=partial(_show_ready, part, tell),
                on_database=show_token if part == API else None,
                child_processes=child_processes(settings, url, *command) if PARTS[part].repeatable else (),
                until_eof=until_eof,
            )
        )


async def _show_ready(part: str, tell: Tell, running: RunningProcess) -> None:
    tell("ready", f"{part} on {running.address}  (/healthz, /readyz, /metrics)", part=part, url=running.address)
