"""A repository that is at another address now: found out by its history, and followed there without a flow lost.

A source is known by its address. Were a new address a new source, its flows would be somebody else's (`name_taken`).
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from automata.errors import AutomataError, Missing, Refused, Usage
from automata.git.history import first_commit
from automata.git.mirror import Mirror
from automata.git.names import short_sha, shown
from automata.project.source import Source, choose_branch, same_address
from automata.store.database import Database
from automata.store.sync import SourceRow, list_sources
from automata.store.sync_moves import move_source


async def move(db: Database, old: Source, new: Source, *, unrelated: bool = False) -> SourceRow:
    """Let what was synced from `old` be followed at `new`. Fetches `new`.

    Raises Missing for a source that there is not, Refused (`other_repository`) when `new` has not the history that was
    synced, unless `unrelated`; Conflict (`address_taken`).
    """
    async with db.transaction() as conn:
        row = _find(await list_sources(conn), old)
    mirror = await asyncio.to_thread(_fetched, new)
    if not unrelated and not await asyncio.to_thread(_is_same, mirror, new, old, row):
        raise _other_repository(row, new)
    async with db.transaction() as conn:
        return await move_source(conn, row, new.name, new.path)


def holds(mirror: Mirror, row: SourceRow) -> bool:
    """Whether a repository has the commit that was last synced of a source: it is the same one, at another address."""
    with suppress(AutomataError):
        mirror.tree((row.head_sha or "").removesuffix("-dirty"))
        return True
    return False


def move_command(row: SourceRow, source: Source) -> str:
    """What a person types to let a source be followed at another address."""
    words = ["automata", "sync", "move", "--from", row.url, "--to", source.name, "--env", row.environment]
    words += ["--path", row.path] if row.path else []
    words += ["--to-path", source.path] if source.path != row.path else []
    return shlex.join(words)


def _find(rows: Iterable[SourceRow], old: Source) -> SourceRow:
    rows = [row for row in rows if row.environment == old.environment and row.path == old.path]
    exact = [row for row in rows if row.url == old.url]
    if fitting := exact or [row for row in rows if same_address(row.url, old.name)]:
        return fitting[0]
    raise Missing(
        f"Nothing was synced from {shown(old.name)}{f', folder {old.path},' if old.path else ''} to {old.environment}.",
        code="no_source",
        hint="automata sync status shows what was; --env and --path are part of a source.",
    )


def _fetched(source: Source) -> Mirror:
    mirror = source.open()
    mirror.fetch()
    return mirror


def _is_same(mirror: Mirror, new: Source, old: Source, row: SourceRow) -> bool:
    """By the commit that was synced, which the new repository has, else by the first commit of both."""
    if row.head_sha is None or holds(mirror, row):
        return True
    with suppress(AutomataError, Usage):
        before = replace(old, url=row.url).open()
        return first_commit(before, _head(before, old)) == first_commit(mirror, _head(mirror, new))
    return False


def _head(mirror: Mirror, source: Source) -> str:
    return mirror.resolve(choose_branch(mirror, source), tracked=True)


def _other_repository(row: SourceRow, new: Source) -> Refused:
    return Refused(
        f"{new.name} has not the commit {short_sha(row.head_sha or '')}, which was last synced from {row.url}.",
        code="other_repository",
        hint="Push that history to it first. If its history was written anew: --unrelated.",
    )
