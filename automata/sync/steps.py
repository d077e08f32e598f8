"""The steps of a sync attempt, in the order in which they run: from an address to immutable versions.

`read`, `validate`, `plan` and `guard` are left out when the files are those of the last sync; `apply` and `record` in a
dry run. Failure argument: see reconcile.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

from automata.errors import Conflict, Refused
from automata.flow.model import CONTENT_FORMAT, FlowContent
from automata.git.branches import contains
from automata.git.disk import NO_COMMIT
from automata.git.history import Provenance
from automata.git.mirror import Mirror
from automata.git.names import DIRTY, EARLIER, is_commit, short_sha
from automata.project.flows import (
    ProjectFiles,
    ProjectFlows,
    list_files,
    missing_folders,
    refuse_errors,
    refuse_missing,
    validate,
)
from automata.project.source import Source, choose_branch, look
from automata.project.tree import Tree
from automata.store import sync as store
from automata.store.database import Connection
from automata.store.sync import DesiredFlow, SourceRow
from automata.sync.attempt import Attempt, OvertakenError
from automata.sync.move import holds, move_command
from automata.sync.origins import LastSync, version_origins
from automata.sync.plan import Action, Current, SyncPlan, guard, make_plan
from automata.sync.report import plan_record

log = logging.getLogger(__name__)

_NO_SOURCE = UUID(int=0)


async def fetch(attempt: Attempt) -> None:
    """Fetch the repository, unless the environment is pinned. Raises Refused (`pinned`), Unavailable."""
    async with attempt.db.connection() as conn:
        attempt.started_at = await _now(conn)
    await attempt.find_source()
    attempt.head_before = attempt.row.head_sha if attempt.row else None
    if attempt.row and attempt.row.pinned_at and not attempt.dry_run:
        raise _pinned(attempt.row)
    attempt.mirror = await asyncio.to_thread(_fetched, attempt.source)


async def resolve(attempt: Attempt) -> None:
    """Find the commit, or the working tree, and whether it holds other files than the last sync. Raises Missing."""
    attempt.tree = await asyncio.to_thread(_resolve, attempt)
    if attempt.row and attempt.source.branch is None and attempt.row.branch not in ("", NO_COMMIT, attempt.branch):
        # Nobody said it here: the repository's default branch or its automata.yaml did.
        log.warning(
            "sync: %s is followed at %s now, no longer at %s", attempt.source.name, attempt.branch, attempt.row.branch
        )
    if not attempt.dry_run:
        await attempt.ensure_source()
        if attempt.row and attempt.row.head_sha != attempt.head_before:
            raise OvertakenError
    commits = attempt.head_before, attempt.tree.commit
    attempt.rewritten = await asyncio.to_thread(_is_rewritten, attempt.mirror, *commits)
    mark = _content_mark(attempt)
    attempt.unchanged = bool(attempt.row and mark and attempt.row.tree_sha == mark)


def _content_mark(attempt: Attempt) -> str | None:
    """The same for the same files, read by a program that makes the same versions of them; None for a working tree."""
    return f"{attempt.tree.tree}/{CONTENT_FORMAT}" if attempt.tree.tree else None


async def read(attempt: Attempt) -> None:
    """List the files of the project. Raises Usage for an environment that it does not have."""
    attempt.files = await asyncio.to_thread(list_files, attempt.tree, attempt.source.environment)
    attempt.sha = attempt.tree.commit  # A working tree knows only now whether it is dirty.


async def validate_flows(attempt: Attempt) -> None:
    """Raises Invalid with every finding."""
    attempt.flows = await asyncio.to_thread(_validate, attempt)


async def plan_changes(attempt: Attempt) -> None:
    """Compare with what is stored. Raises Conflict (`name_taken`)."""
    files, flows = _read_of(attempt)
    names = [flow.name for flow in flows.flows]
    async with attempt.db.connection() as conn:
        attempt.stored = await store.load_state(conn, attempt.row.id if attempt.row else _NO_SOURCE, names)
    current = {row.name: Current(row.name, row.content_hash, row.owner, row.archived) for row in attempt.stored}
    try:
        attempt.plan = make_plan(flows.flows, current, files.project.policy)
    except Conflict as error:
        error.hint = await _way_out(attempt, {row.owner for row in attempt.stored}) or error.hint
        raise


async def guard_plan(attempt: Attempt) -> None:
    """Refuse what looks like an accident (`prune_blocked`); then read what the changed flows say."""
    files, flows = _read_of(attempt)
    plan, policy = attempt.plan, files.project.policy
    assert plan is not None
    guard(plan, policy, attempt.sha or "", attempt.confirm, missing=files.missing, empty=not flows.flows)
    if not attempt.dry_run:
        head = attempt.head_before
        last = LastSync(partial(_contains, attempt.mirror, head), is_commit(head or ""))
        attempt.versions = await asyncio.to_thread(versions, plan, attempt.tree, files, flows, last)


async def apply(attempt: Attempt) -> None:
    """Open the transaction, lock the source, and start over when what the plan was made from has changed."""
    assert attempt.row is not None
    attempt.conn = await attempt.stack.enter_async_context(attempt.db.transaction())
    row = await store.lock_source(attempt.conn, attempt.row.id)
    if row.pinned_at or row.head_sha != attempt.row.head_sha:
        raise OvertakenError
    names = [action.name for action in attempt.plan.actions] if attempt.plan else []
    if attempt.stored is not None and await store.load_state(attempt.conn, row.id, names) != attempt.stored:
        raise OvertakenError
    attempt.row = row


async def record(attempt: Attempt) -> None:
    """Write what changed, and the attempt; when the files did not move, only the head and the time."""
    assert attempt.row is not None
    assert attempt.started_at is not None
    plan, files = attempt.plan, attempt.files
    applied = await store.apply(
        attempt.conn,
        attempt.row,
        attempt.versions,
        sha=attempt.tree.commit,
        tree_sha=_content_mark(attempt),
        started_at=attempt.started_at,
        archive=plan.archives if plan else (),
        plan=plan_record(plan) if plan and plan.changes else None,
        heal=files.project.policy.heal if files else False,
        notifications=files.environment.notifications if files else None,
        read=files is not None,
    )
    attempt.status = "synced" if applied.attempt.status == "synced" else "unchanged"


Step = Callable[[Attempt], Awaitable[None]]
STEPS: Mapping[str, Step] = {
    "fetch": fetch,
    "resolve": resolve,
    "read": read,
    "validate": validate_flows,
    "plan": plan_changes,
    "guard": guard_plan,
    "apply": apply,
    "record": record,
}
_OF_NEW_FILES = frozenset({"read", "validate", "plan", "guard"})
_WRITING = frozenset({"apply", "record"})


def is_left_out(step: str, attempt: Attempt) -> bool:
    """Whether an attempt, by what it knows now, goes on without this step."""
    return (attempt.unchanged and step in _OF_NEW_FILES) or (attempt.dry_run and step in _WRITING)


def _fetched(source: Source) -> Mirror:
    mirror = source.open()
    mirror.fetch()
    return mirror


def _resolve(attempt: Attempt) -> Tree:
    mirror, source = attempt.mirror, attempt.source
    if source.working_tree:
        tree = look(mirror, source, "")
        attempt.branch = mirror.head_branch() or NO_COMMIT
        return tree
    attempt.branch = choose_branch(mirror, source)
    attempt.sha = mirror.resolve(attempt.branch, tracked=True)
    return look(mirror, source, attempt.sha)


def _validate(attempt: Attempt) -> ProjectFlows:
    files = attempt.files
    assert files is not None
    never_synced = attempt.row is None or attempt.row.head_sha is None
    if files.missing and not files.entries and never_synced:
        refuse_errors(files.diagnostics)
        refuse_missing(files)
    flows = validate(attempt.tree, files)
    flows.diagnostics += missing_folders(files)
    return flows


def _read_of(attempt: Attempt) -> tuple[ProjectFiles, ProjectFlows]:
    assert attempt.files is not None
    assert attempt.flows is not None
    return attempt.files, attempt.flows


async def _way_out(attempt: Attempt, owners: Collection[str]) -> str | None:
    """The command that helps when names are taken by this very repository, as it was at another address."""
    async with attempt.db.connection() as conn:
        rows = [row for row in await store.list_sources(conn) if row.label in owners]
    for row in rows:
        if row.environment == attempt.source.environment and await asyncio.to_thread(holds, attempt.mirror, row):
            return f"It is the same repository at another address: {move_command(row, attempt.source)}"
    return None


def _pinned(row: SourceRow) -> Refused:
    since = f"{row.pinned_at:%Y-%m-%d %H:%M} UTC" if row.pinned_at else ""
    commit = short_sha(row.head_sha or "")
    return Refused(
        f"{row.label} is pinned to {commit} since {since}, by {row.pinned_by}: {row.pinned_reason}.",
        code="pinned",
        hint=f"automata sync release --source {row.id} lets it follow its branch again.",
        details={"pinned_sha": row.head_sha},
    )


def versions(plan: SyncPlan, tree: Tree, files: ProjectFiles, flows: ProjectFlows, last: LastSync) -> list[DesiredFlow]:
    """What the changed flows say, and who said it."""
    changed = [action for action in plan.changes if action.kind != "archive"]
    contents = {action.path: flows.content(action.path, tree, files) for action in changed}
    origins = version_origins(tree, files, contents, last)
    hashes = {flow.path: flow.content_hash for flow in flows.flows}
    return [_version(action, contents[action.path], hashes[action.path], origins[action.path]) for action in changed]


def _version(action: Action, content: FlowContent, content_hash: str, origin: Provenance) -> DesiredFlow:
    return DesiredFlow(
        name=action.name,
        spec=content.spec,
        content_hash=content_hash,
        variables=content.variables,
        labels=content.spec.get("labels", {}),
        commit_sha=origin.commit,
        path=action.path,
        author=origin.author,
        message=origin.message,
        committed_at=origin.committed_at,
        renamed_from=action.previous,
    )


def _contains(mirror: Mirror, head: str | None, commit: str) -> bool:
    """Whether `commit` was part of the sync that left `head`, which of a working tree names its last commit.

    What was changed before the history that is read is older than what a sync may have missed.
    """
    base = (head or "").removesuffix(DIRTY)
    return is_commit(base) and (commit.endswith(EARLIER) or contains(mirror, base, commit))


def _is_rewritten(mirror: Mirror, before: str | None, after: str) -> bool:
    known = before is not None and is_commit(before) and is_commit(after)
    return known and mirror.rewritten(before or "", after)


async def _now(conn: Connection) -> datetime:
    cursor = await conn.execute("SELECT now()")
    row = await cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment
