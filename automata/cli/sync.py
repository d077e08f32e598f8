"""`automata sync`: a commit to versions in the database. What is asked of a running Automata is in sync_state.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.options import Branch, Env, Output, ProjectPath, RepoUrl
from automata.cli.output import Format, console, duration, emit, facts, say, say_json, table
from automata.cli.sync_move import move
from automata.cli.sync_state import drift, release, rollback, status
from automata.errors import AutomataError, Refused, Usage
from automata.settings import Settings, load

if TYPE_CHECKING:
    from rich.console import Group

    from automata.project.source import Source
    from automata.sync.report import SyncReport

_VERBS = {
    "create": "create",
    "update": "update",
    "rename": "rename",
    "unarchive": "unarchive",
    "archive": "archive",
    "kept": "keep",
}


app = typer.Typer(invoke_without_command=True)


app.command(epilog="Example: automata sync status -o json")(status)
app.command(epilog="Example: automata sync drift --detailed-exitcode")(drift)
app.command(epilog="Example: automata sync rollback --to 3f2c1ab90d5e --reason 'orders are doubled'")(rollback)
app.command(epilog="Example: automata sync release --source prod")(release)
app.command(epilog="Example: automata sync move --from ./flows --to https://git.example.com/flows.git")(move)


@app.callback(epilog="Example: automata sync --repo ./my-flows --dry-run")
def sync(
    context: typer.Context,
    repo: RepoUrl = None,
    branch: Branch = None,
    env: Env = None,
    path: ProjectPath = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm-deletes", metavar="HASH", help="Archive the flows that a refusal listed."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make the flows of one commit current: all of them, or none when one is invalid.

    Running it twice changes nothing. The database is that of AUTOMATA_DATABASE_URL, or the embedded PostgreSQL.
    Credentials come from AUTOMATA_GIT_TOKEN, AUTOMATA_GIT_USERNAME and AUTOMATA_GIT_SSH_KEY.
    """
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    from automata.project.source import source_of

    settings = load(repo=repo, repo_path=path, environment=env)
    source = source_of(settings, branch)
    try:
        with _progress() as on_step:
            outcome = _sync(settings, source, dry_run, confirm, on_step)
    except AutomataError as error:
        if output is Format.JSON:
            say_json(_failure(error))
        raise
    for warning in outcome.diagnostics:
        say(str(warning), stderr=True)
    emit(outcome.to_json(), output, lambda _: _shown(outcome))


def _refuse_options(context: typer.Context) -> None:
    """`automata sync --env dev rollback` must not roll back another environment."""
    from_shell = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if from_shell:
        command = context.invoked_subcommand
        raise Usage(f"Options go behind the command: automata sync {command} …", hint=f"automata sync {command} --help")


def _sync(
    settings: Settings, source: Source, dry_run: bool, confirm: str | None, on_step: Callable[[str], None]
) -> SyncReport:
    from automata.cli.database import database
    from automata.store.database import Database
    from automata.store.migrate import upgrade
    from automata.sync.reconcile import sync_once

    async def run(url: str) -> SyncReport:
        async with await Database.open(url, max_size=2, direct_url=settings.database_direct_url) as db:
            return await sync_once(db, source, dry_run=dry_run, confirm=confirm, on_step=on_step)

    with database(settings) as url:
        # The embedded server is ours alone; a server of somebody else's is changed only by `automata migrate`.
        if not settings.database_url:
            upgrade(url)
        return asyncio.run(run(url))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Names the step that is under way, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with console(stderr=True).status("starting") as status:
        yield lambda step: status.update(step)


def _failure(error: AutomataError) -> dict[str, Any]:
    return {
        "status": "refused" if isinstance(error, Refused) else "failed",
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "details": dict(error.details),
        "diagnostics": [asdict(item) for item in error.diagnostics],
    }


def _shown(outcome: SyncReport) -> Group:
    from rich.console import Group

    rows = [
        (_VERBS[action.kind], f"{action.previous} -> {action.name}" if action.previous else action.name, action.path)
        for action in outcome.actions
        if action.kind in _VERBS
    ]
    parts: list[Any] = [table("ACTION", "FLOW", "FILE", rows=rows)] if rows else []
    word = {"planned": "dry run, nothing was changed"}.get(outcome.status, outcome.status)
    parts.append(
        facts(
            [
                ("source", f"{outcome.source} ({outcome.environment})"),
                ("commit", outcome.summary()),
                ("history", "the branch was rewritten since the last sync" if outcome.rewritten else None),
                ("result", f"{word} ({duration(outcome.duration_ms / 1000)})"),
            ]
        )
    )
    return Group(*parts)
