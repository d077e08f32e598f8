"""One sync attempt, as an ordered list of named steps: from an address to immutable versions.

Failure argument.
- Everything up to `guard` only reads. Git and validation run in a thread and never inside a transaction, so no lock is
  held while a disk or a network is slow.
- `apply` is one transaction under the source's advisory lock. What the plan was made from is read again there; when
  another sync changed it meanwhile, the attempt starts over from `fetch` instead of laying an older commit over a
  newer one. The head is first read before the branch is: whatever becomes current after that shows as a change. A
  process that dies before COMMIT has changed nothing; after one that dies behind it, the next attempt finds nothing
  to do.
- An environment that is pinned stays where it is: that is asked first, and again under the lock.
- A failure is recorded in a transaction of its own, and never hides the failure itself when that cannot be written.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from automata.errors import AutomataError, Refused, Unavailable
from automata.git.branches import contains
from automata.git.history import Provenance
from automata.git.mirror import Mirror
from automata.git.tree import joined
from automata.git.working import NO_COMMIT
from automata.project.flows import (
    ProjectFiles,
    ProjectFlows,
    list_files,
    missing_folders,
    refuse_errors,
    refuse_missing,
    validate,
)
from automata.project.source import Source, choose_branch, confirm_command, look
from automata.project.tree import Tree
from automata.store import sync as store
from automata.store.database import Connection, Database
from automata.store.sync import CurrentFlow, DesiredFlow, SourceRow
from automata.sync.plan import Action, Current, SyncPlan, guard, make_plan
from automata.sync.report import SyncReport, SyncStatus, error_record, plan_record, short

STEPS = ("fetch", "resolve", "read", "validate", "plan", "guard", "apply", "record")
# Two syncs that keep overtaking each other are a misconfiguration, not a race.
MAX_STARTS = 3
_NOBODY = UUID(int=0)

log = logging.getLogger(__name__)
T = TypeVar("T")


class _OvertakenError(Exception):
    """Another sync of this source came between plan and apply."""


async def sync_once(
    db: Database,
    source: Source,
    *,
    dry_run: bool = False,
    confirm: str | None = None,
    on_step: Callable[[str], None] | None = None,
) -> SyncReport:
    """Make the flows of `source` current, all or none. A dry run stops before `apply` and records nothing.

    `confirm` is the word that `Refused` (code `prune_blocked`) asked for. `on_step` hears the name of each step.
    Raises Invalid (with `diagnostics`), Refused, Conflict (`name_taken`), Missing, Usage, Unavailable (try later);
    `details` then holds `step` and `sha`. The flows that were current before stay so.
    """
    source = source.checked()
    for _ in range(MAX_STARTS):
        attempt = _Attempt(db, source, dry_run, confirm, on_step or (lambda _: None))
        try:
            return await attempt.run()
        except _OvertakenError:
            log.info("another sync of %s came between; starting over", source.name)
        except Exception as error:
            await attempt.failed(error)
            raise
    raise Unavailable(
        f"Other syncs of {source.name} keep coming between.",
        code="sync_overtaken",
        hint="Is it synced from several places? One controller a source is enough.",
    )


class _Attempt:
    """What one attempt has found out so far."""

    def __init__(
        self, db: Database, source: Source, dry_run: bool, confirm: str | None, on_step: Callable[[str], None]
    ) -> None:
        self.db = db
        self.source = source
        self.dry_run = dry_run
        self.confirm = confirm
        self.on_step = on_step
        self.step = STEPS[0]
        self.branch = source.branch or ""
        self.sha: str | None = None
        self.plan: SyncPlan | None = None
        self.row: SourceRow | None = None
        self.started_at: datetime | None = None
        self.began = time.monotonic()

    async def run(self) -> SyncReport:
        async with self.db.connection() as conn:
            self.started_at = await _now(conn)
        await self._find_row(make=False)
        before = self.row.head_sha if self.row else None
        if self.row and self.row.pinned_at and not self.dry_run:
            raise _pinned(self.row)
        mirror = await self._blocking("fetch", self._fetch)
        tree = await self._blocking("resolve", lambda: self._resolve(mirror))
        if not self.dry_run:
            await self._find_row(make=True)
            if self.row and self.row.head_sha != before:
                raise _OvertakenError
        rewritten = await asyncio.to_thread(_is_rewritten, mirror, before, tree.commit)
        if self.row and tree.tree and self.row.tree_sha == tree.tree:
            status = "planned" if self.dry_run else await self._apply(tree)
            return self._report(status, None, rewritten)
        files = await self._blocking("read", lambda: list_files(tree, self.source.environment))
        self.sha = tree.commit  # A working tree knows only now whether it is dirty.
        wanted = await self._blocking("validate", lambda: self._validate(tree, files))
        state = await self._plan(files, wanted)
        assert self.plan is not None
        if self.dry_run:
            return self._report("planned", wanted, rewritten)
        known = partial(_contains, mirror, before)
        desired = await asyncio.to_thread(_versions, self.plan, tree, files, wanted, known)
        status = await self._apply(tree, desired, state, files)
        return self._report(status, wanted, rewritten)

    async def failed(self, error: Exception) -> None:
        """Keep what went wrong: on the error for whoever hears it, and among the attempts."""
        if isinstance(error, AutomataError):
            error.details = {**error.details, "step": self.step, "sha": self.sha}
            if self.plan:
                error.details["actions"] = [action.to_json() for action in self.plan.changes]
            if error.code == "prune_blocked":
                command = confirm_command(self.source, self.branch, error.details["confirm"])
                error.hint = f"If this is meant: {command}"
        if self.dry_run or self.started_at is None or (isinstance(error, Refused) and error.code == "pinned"):
            return
        try:
            # A wrong address typed once must not stay as a source for ever; one that is down may be right.
            await self._find_row(make=isinstance(error, Unavailable))
            if self.row is not None:
                await self._record_failure(self.row, error)
        except AutomataError as hidden:
            log.warning("the failed sync could not be recorded: %s", hidden)

    def _fetch(self) -> Mirror:
        mirror = self.source.open()
        mirror.fetch()
        return mirror

    def _resolve(self, mirror: Mirror) -> Tree:
        if self.source.working_tree:
            tree = look(mirror, self.source, "")
            self.branch = mirror.head_branch() or NO_COMMIT
        else:
            self.branch = choose_branch(mirror, self.source)
            self.sha = mirror.resolve(self.branch)
            tree = look(mirror, self.source, self.sha)
        return tree

    def _validate(self, tree: Tree, files: ProjectFiles) -> ProjectFlows:
        if files.missing and not files.entries and (self.row is None or self.row.head_sha is None):
            refuse_errors(files.diagnostics)
            refuse_missing(files)
        wanted = validate(tree, files)
        wanted.diagnostics += missing_folders(files)
        return wanted

    async def _plan(self, files: ProjectFiles, wanted: ProjectFlows) -> list[CurrentFlow]:
        self._enter("plan")
        async with self.db.connection() as conn:
            state = await self._load(conn, wanted)
        policy = files.project.policy
        current = {row.name: Current(row.name, row.content_hash, row.owner, row.archived) for row in state}
        self.plan = make_plan(wanted.flows, current, policy)
        self._enter("guard")
        guard(self.plan, policy, self.sha or "", self.confirm, missing=files.missing, empty=not wanted.flows)
        return state

    async def _load(self, conn: Connection, wanted: ProjectFlows) -> list[CurrentFlow]:
        names = [flow.name for flow in wanted.flows]
        return await store.load_state(conn, self.row.id if self.row else _NOBODY, names)

    async def _apply(
        self,
        tree: Tree,
        desired: Sequence[DesiredFlow] = (),
        planned_on: list[CurrentFlow] | None = None,
        files: ProjectFiles | None = None,
    ) -> SyncStatus:
        """Write what changed; without a plan (the files did not move) only the head and the time of the attempt."""
        assert self.row is not None
        assert self.started_at is not None
        self._enter("apply")
        names = [action.name for action in self.plan.actions] if self.plan else []
        async with self.db.transaction() as conn:
            row = await store.lock_source(conn, self.row.id)
            if row.pinned_at or row.head_sha != self.row.head_sha:
                raise _OvertakenError
            if planned_on is not None and await store.load_state(conn, row.id, names) != planned_on:
                raise _OvertakenError
            self._enter("record")
            done = await store.apply(
                conn,
                row,
                desired,
                sha=tree.commit,
                tree_sha=tree.tree or None,
                started_at=self.started_at,
                archive=self.plan.archives if self.plan else (),
                plan=plan_record(self.plan) if self.plan and self.plan.changes else None,
                heal=files.project.policy.heal if files else False,
                notifications=files.environment.notifications if files else None,
                read=files is not None,
            )
        return "synced" if done.attempt.status == "synced" else "unchanged"

    async def _find_row(self, *, make: bool) -> None:
        name, path, environment = self.source.name, self.source.path, self.source.environment
        async with self.db.transaction() as conn:
            if make:
                branch = self.branch or "main"
                self.row = await store.ensure_source(conn, name, branch=branch, environment=environment, path=path)
                return
            for row in await store.list_sources(conn):
                if (row.url, row.path, row.environment) == (name, path, environment):
                    self.row = row

    async def _record_failure(self, row: SourceRow, error: Exception) -> None:
        assert self.started_at
        async with self.db.transaction() as conn:
            await store.record_attempt(
                conn,
                row.id,
                "refused" if isinstance(error, Refused) else "failed",
                sha=self.sha,
                started_at=self.started_at,
                plan=plan_record(self.plan) if self.plan else None,
                error=error_record(error, self.step),
            )

    def _report(self, status: SyncStatus, wanted: ProjectFlows | None, rewritten: bool) -> SyncReport:
        return SyncReport(
            status=status,
            sha=self.sha or "",
            source=self.source.name,
            branch=self.branch,
            environment=self.source.environment,
            plan=self.plan,
            diagnostics=wanted.diagnostics if wanted else (),
            rewritten=rewritten,
            duration_ms=round((time.monotonic() - self.began) * 1000),
        )

    async def _blocking(self, step: str, work: Callable[[], T]) -> T:
        self._enter(step)
        return await asyncio.to_thread(work)

    def _enter(self, step: str) -> None:
        self.step = step
        self.on_step(step)


def _pinned(row: SourceRow) -> Refused:
    since = f"{row.pinned_at:%Y-%m-%d %H:%M} UTC" if row.pinned_at else ""
    return Refused(
        f"{row.label} is pinned to {short(row.head_sha or '')} since {since}, by {row.pinned_by}: {row.pinned_reason}.",
        code="pinned",
        hint=f"automata sync release --source {row.id} lets it follow its branch again.",
        details={"pinned_sha": row.head_sha},
    )


def _versions(
    plan: SyncPlan, tree: Tree, files: ProjectFiles, wanted: ProjectFlows, known: Callable[[str], bool]
) -> list[DesiredFlow]:
    """What the changed flows say, and who said it. `known`: whether a commit was part of the last sync."""
    changed = [action for action in plan.changes if action.kind != "archive"]
    blobs = {action.path: files.entries[action.path].blob for action in changed}
    origin = _origins(tree, files, blobs, known)
    hashes = {flow.path: flow.content_hash for flow in wanted.flows}

    def version(action: Action) -> DesiredFlow:
        content, source = wanted.content(action.path, tree, files), origin[action.path]
        return DesiredFlow(
            name=action.name,
            spec=content.spec,
            content_hash=hashes[action.path],
            variables=content.variables,
            labels=content.spec.get("labels", {}),
            commit_sha=source.commit,
            path=action.path,
            author=source.author,
            message=source.message,
            committed_at=source.committed_at,
            renamed_from=action.previous,
        )

    return [version(action) for action in changed]


def _origins(
    tree: Tree, files: ProjectFiles, blobs: dict[str, str], known: Callable[[str], bool]
) -> dict[str, Provenance]:
    """The commit that each version comes from: the file's, or that of the variables when only they have moved since."""
    folders = [joined(files.folder, folder) for folder in files.project.flows]
    origin = tree.provenance(blobs, folders)
    old = [path for path, one in origin.items() if known(one.commit)]
    if not old:
        return origin
    entries = [tree.find(path)[0] for path in (files.environment.file, files.project.file) if path]
    shared = {entry.path: entry.blob for entry in entries if entry}
    moved = tree.provenance(shared, sorted({posixpath.dirname(path) for path in shared})).values()
    causes = [one for one in moved if not known(one.commit)]
    if not causes:
        return origin
    return origin | dict.fromkeys(old, max(causes, key=lambda one: one.committed_at))


def _contains(mirror: Mirror, head: str | None, commit: str) -> bool:
    return head is not None and contains(mirror, head, commit)


def _is_rewritten(mirror: Mirror, before: str | None, after: str) -> bool:
    known = before is not None and len(before) == len(after) == 40
    return known and mirror.rewritten(before or "", after)


async def _now(conn: Connection) -> datetime:
    cursor = await conn.execute("SELECT now()")
    row = await cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment
