"""`automata up`: database, migrations, sync, API, orchestrator and worker in one process, said step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import Format, Output, report, say, say_json
from automata.errors import Invalid, Missing, Refused, Unavailable, Usage
from automata.settings import MOST_PROCESSES, Settings, load

if TYPE_CHECKING:
    from automata.services.process import Running
    from automata.store.database import Database
    from automata.sync.source import Source

Tell = Callable[..., None]


def up(
    repo: Annotated[
        str | None,
        typer.Option("--repo", help="Flows repository: a folder, a bare repository or a URL.", show_default=False),
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="The project's folder inside the repository.", show_default=False)
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            envvar="AUTOMATA_BRANCH",
            show_envvar=False,
            help="The branch to read.",
            show_default="the environment's, else main",
        ),
    ] = None,
    env: Annotated[str | None, typer.Option("--env", help="The environment.", show_default="prod")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read the files on disk and sync whenever one changes (for development).")
    ] = False,
    host: Annotated[str | None, typer.Option("--host", help="Listen here.", show_default="127.0.0.1")] = None,
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
            max=MOST_PROCESSES,
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
    _run(settings, branch, watch, _tell_json if output is Format.JSON else _tell)


def _run(settings: Settings, branch: str | None, watch: bool, tell: Tell) -> None:
    from automata.cli.database import database
    from automata.store.migrate import current, upgrade
    from automata.telemetry import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    with database(settings) as url:
        tell("database", "yours" if settings.database_url else "embedded PostgreSQL")
        applied = upgrade(url)
        tell(
            "migrations",
            f"{len(applied)} applied" if applied else "none pending",
            applied=applied,
            revision=current(url),
        )
        with runner() as loop:
            loop.run(_serve(settings, url, branch, watch, tell))
    tell("stopped", "drained; what was running goes on at the next start")


async def _serve(settings: Settings, url: str, branch: str | None, watch: bool, tell: Tell) -> None:
    from automata.cli.first import FIRST, admin_token
    from automata.cli.services import controllers_of
    from automata.cli.site import create_site
    from automata.services.crew import helpers
    from automata.services.process import serve
    from automata.store.database import Database

    source = _source(settings, branch, watch) if settings.repo else None
    if source:
        db = await Database.open(url, max_size=1)
        try:
            await _sync(db, source, tell)
        finally:
            await db.close()
    # What is watched on disk needs no controller; everything else is followed as commits come.
    more = controllers_of(replace(settings, sources=()), branch) if source and not watch else {}
    watching: list[asyncio.Task[None]] = []

    async def on_ready(running: Running) -> None:
        tell(
            "ready",
            f"{running.address}  (the console; REST under /api/v1, described by /openapi.json)",
            url=running.address,
        )
        if source and watch:
            watching.append(asyncio.create_task(_watch(running.db, source, tell)))

    async def on_database(db: Database) -> None:
        if text := await admin_token(db, settings):
            tell("admin token", f"{FIRST}\n{text}", token=text)

    try:
        await serve(
            settings,
            url,
            create_site,
            on_ready=on_ready,
            more=more,
            on_database=on_database,
            helpers=helpers(settings, url, "worker", "--orchestrate"),
        )
    finally:
        for task in watching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


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
    from automata.sync.source import watch

    tell("watching", source.name)
    async for _ in watch(source):
        try:
            await _sync(db, source, tell)
        except (Usage, Missing, Unavailable) as error:
            # A folder that is being renamed, a file that is being written: the next change brings the next look.
            report(error)


def _source(settings: Settings, branch: str | None, watch: bool) -> Source:
    from automata.sync.source import source_of

    return replace(source_of(settings, branch), working_tree=watch)


def runner() -> asyncio.Runner:
    with suppress(ImportError):
        import uvloop

        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner()


def _tell(event: str, words: str, **_: Any) -> None:
    say(f"{event:<11}{words}")


def _tell_json(event: str, words: str, **facts: Any) -> None:
    say_json({"event": event, "message": words, **facts}, indent=None)
