"""`automata sync`: from a commit to versions in the database; `automata init`: a repository to start with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import Format, Output, emit, report, say, say_json, table
from automata.errors import AutomataError, Diagnostic, Usage
from automata.settings import load

if TYPE_CHECKING:
    from automata.sync.report import SyncReport
    from automata.sync.source import Source


def sync(
    repo: Annotated[
        str | None,
        typer.Option("--repo", help="Flows repository: a folder, a bare repository or a URL.", show_default=False),
    ] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="The branch to read.", show_default="main")] = None,
    env: Annotated[str | None, typer.Option("--env", help="The environment.", show_default="prod")] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="The project's folder inside the repository.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    confirm_deletes: Annotated[
        str | None,
        typer.Option("--confirm-deletes", metavar="HASH", help="Archive what the guard held back.", show_default=False),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Turn a commit into immutable flow versions: all flows or none, and twice changes nothing.

    AUTOMATA_REPO, AUTOMATA_BRANCH, AUTOMATA_ENVIRONMENT and AUTOMATA_REPO_PATH stand in for the flags.
    """
    from automata.cli.database import database
    from automata.store.migrate import upgrade
    from automata.sync.source import Source

    settings = load(repo=repo, branch=branch, environment=env, repo_path=path)
    if not settings.repo:
        raise Usage("no repository to sync", hint="Name it with --repo or AUTOMATA_REPO.")
    mirrors = Path(settings.data_dir) / "mirrors" if settings.data_dir else None
    source = Source(
        settings.repo,
        branch=settings.branch,
        environment=settings.environment,
        path=settings.repo_path,
        mirrors=mirrors,
    ).checked()
    with database(settings) as url:
        upgrade(url)
        try:
            outcome = asyncio.run(_sync(url, source, dry_run, confirm_deletes))
        except AutomataError as error:
            if output is Format.JSON:
                say_json(_failure(error))
            report(error)
            raise typer.Exit(error.exit_code) from error
    for item in outcome.diagnostics:
        say(str(item), stderr=True)
    emit(outcome.to_json(), output, _actions)
    if output is Format.TABLE:
        say(outcome.summary())


async def _sync(url: str, source: Source, dry_run: bool, confirm: str | None) -> SyncReport:
    from automata.store.database import Database
    from automata.sync.reconcile import sync_once

    async with await Database.open(url, max_size=2) as db:
        return await sync_once(db, source, dry_run=dry_run, confirm=confirm)


def _failure(error: AutomataError) -> dict[str, Any]:
    return {
        "status": "failed",
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "details": dict(error.details),
        "diagnostics": [_finding(item) for item in error.diagnostics],
    }


def _finding(item: Diagnostic) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Diagnostic.__slots__}


def _actions(data: dict[str, Any]) -> Any:
    changed = [item for item in data["actions"] if item["action"] != "unchanged"]
    rows = ((item["action"], item["flow"], item["previous"], item["path"]) for item in changed)
    return table("ACTION", "FLOW", "BEFORE", "PATH", rows=rows) if changed else "Nothing to change."


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    output: Output = Format.TABLE,
) -> None:
    """Make a new flows repository, with history and flows that validate, sync and run as they are."""
    from automata.sync.init import create

    made = create(folder)
    if output is Format.JSON:
        say_json({"path": str(made.path), "commit": made.commit, "files": list(made.files)})
        return
    say(f"Created {made.path} with {len(made.files)} files in commit {made.commit[:12]}.")
    say(f"Next: automata validate {folder}/flows && automata up --repo {folder}")
