"""`automata sync move`: a repository that is at another address now, on the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.local import myself, on_database
from automata.cli.options import Env, Output
from automata.cli.output import Format, emit, facts
from automata.settings import load

if TYPE_CHECKING:
    from automata.store.database import Database


def move(
    old: Annotated[str, typer.Option("--from", help="The address that was synced, as `sync status` shows it.")],
    new: Annotated[str, typer.Option("--to", help="Where the repository is now.")],
    env: Env = None,
    path: Annotated[str, typer.Option("--path", help="The project's folder, at the old address.")] = "",
    to_path: Annotated[
        str | None, typer.Option("--to-path", help="The project's folder, at the new one.", show_default="--path")
    ] = None,
    unrelated: Annotated[
        bool, typer.Option("--unrelated", help="Also when the repository there has another history.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Follow a repository at another address: its flows, versions, proposals and history stay as they are.

    The new one must have the commit that was last synced. Stop whatever syncs from the old address first, and start it
    with the new one.
    """
    from automata.project.source import source_of
    from automata.store.audit import set_actor
    from automata.sync.move import move as move_source

    settings = load(environment=env)
    places = ((old, path), (new, path if to_path is None else to_path))
    before, after = (source_of(load(repo=repo, repo_path=folder, environment=env)) for repo, folder in places)

    async def work(db: Database) -> dict[str, Any]:
        set_actor(myself())
        row = await move_source(db, before, after, unrelated=unrelated)
        return {"id": str(row.id), "url": row.url, "path": row.path, "environment": row.environment}

    moved = on_database(work, settings)
    emit(moved, output, lambda _: facts([("source", moved["url"]), ("path", moved["path"]), ("id", moved["id"])]))
