"""`automata up`: database, migrations, sync, API, orchestrator and worker in one process, said step by step.

The port is bound before anything is touched: a second one, started in the wrong folder, must not deploy that folder's
flows to the database of the first, and then say that it cannot start.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from automata.cli.composition import ALL, CONTROLLER, compose, runner, show_admin_token
from automata.cli.options import Branch, Env, Host, Output, ProjectPath, RepoUrl
from automata.cli.output import Format, report
from automata.cli.service_output import Tell, begin_logs, tell_token, teller
from automata.errors import Invalid, Missing, Refused, Unavailable, Usage
from automata.settings import MAX_PROCESSES, Settings, load, warn_of_unknown_variables

if TYPE_CHECKING:
    from socket import socket

    from automata.project.source import Source
    from automata.services.process import RunningProcess
    from automata.store.database import Database

_OF_FLEETS = ("automata.services.leader_election",)  # alone it leads at once, and nobody asks who does


def up(
    repo: RepoUrl = None,
    path: ProjectPath = None,
    branch: Branch = None,
    env: Env = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read the files on disk and sync whenever one changes (for development).")
    ] = False,
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Listen here; 0 is any free one.", show_default="8080"),
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where the embedded database lives.", show_default=False)
    ] = None,
    allow_loopback: Annotated[
        bool | None,
        typer.Option("--allow-loopback", help="Let flows call this machine (for development).", show_default=False),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=MAX_PROCESSES,
            help="As many processes: the others help to run flows; one that dies is started again.",
            show_default="1",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Run everything in one process: database, sync, API, orchestrator and worker.

    The database is that of AUTOMATA_DATABASE_URL, or an embedded PostgreSQL. Ctrl-C drains and ends it; whatever was
    running goes on at the next start. With -o json every event is one JSON line.
    """
    settings = load(
        repo=repo,
        repo_path=path,
        branch=branch,
        environment=env,
        host=host,
        port=port,
        data_dir=data_dir,
        allow_loopback=allow_loopback,
        processes=processes,
    )
    if watch and not settings.repo:
        raise Usage("--watch needs a --repo to watch")
    begin_logs(settings, quiet=_OF_FLEETS)
    warn_of_unknown_variables()
    _run(settings, branch, watch, teller(settings, output))


def _run(settings: Settings, branch: str | None, watch: bool, tell: Tell) -> None:
    from automata.cli.database import database
    from automata.services.http_server import bind
    from automata.store.migrate import current, upgrade

    with closing(bind(settings.host, settings.port)) as listening, database(settings) as url:
        tell("database", "yours" if settings.database_url else "embedded PostgreSQL")
        applied = upgrade(url, settings.database_direct_url)
        tell(
            "migrations",
            f"{len(applied)} applied" if applied else "none pending",
            applied=applied,
            revision=current(url),
        )
        with runner() as loop:
            loop.run(_serve(settings, url, listening, branch, watch, tell))
    tell("stopped", "drained; what was running goes on at the next start")


async def _serve(settings: Settings, url: str, listening: socket, branch: str | None, watch: bool, tell: Tell) -> None:
    from automata.services.process import serve
    from automata.services.supervisor import child_processes
    from automata.store.database import Database

    source = _source(settings, branch, watch) if settings.repo else None
    if source:
        async with await Database.open(url, max_size=1, direct_url=settings.database_direct_url) as db:
            await _sync(db, source, tell)
    # What is watched on disk needs no controller; everything else is followed as commits come.
    parts = ALL | {CONTROLLER} if source and not watch else ALL
    watching = _Watching(source if watch else None, tell)
    try:
        await serve(
            settings,
            url,
            compose(replace(settings, sources=()), parts, branch=branch),
            listening=listening,
            on_ready=watching.begin,
            on_database=partial(show_admin_token, settings, partial(tell_token, tell)),
            child_processes=child_processes(settings, url, "worker", "--orchestrate"),
        )
    finally:
        await watching.end()


class _Watching:
    """Syncs what changes on disk, from when the process is ready; does nothing where no source is watched."""

    def __init__(self, source: Source | None, tell: Tell) -> None:
        self._source = source
        self._tell = tell
        self._task: asyncio.Task[None] | None = None

    async def begin(self, running: RunningProcess) -> None:
        words = f"{running.address}  (the console; REST under /api/v1, described by /openapi.json)"
        self._tell("ready", words, url=running.address)
        if self._source:
            self._task = asyncio.create_task(_watch(running.db, self._source, self._tell))

    async def end(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


async def _sync(db: Database, source: Source, tell: Tell) -> None:
    """One sync. What is wrong with the flows is said and not raised: those that were synced before keep running."""
    from automata.sync.reconcile import sync_once

    try:
        outcome = await sync_once(db, source)
    except (Usage, Missing):
        raise
    except (Invalid, Refused) as error:
        report(error)
        tell("sync", "refused; the flows that were synced before keep running", code=error.code)
    else:
        tell("sync", outcome.summary(), **outcome.to_json())


async def _watch(db: Database, source: Source, tell: Tell) -> None:
    from automata.project.source import watch

    tell("watching", source.name)
    async for _ in watch(source):
        try:
            await _sync(db, source, tell)
        except (Usage, Missing, Unavailable) as error:
            # A folder that is being renamed, a file that is being written: the next change brings the next look.
            report(error)


def _source(settings: Settings, branch: str | None, watch: bool) -> Source:
    from automata.project.source import source_of

    return replace(source_of(settings, branch), working_tree=watch)
