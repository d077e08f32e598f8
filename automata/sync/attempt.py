"""One sync attempt: what it was asked for, what its steps found out so far, and what is kept of it when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime

from automata.errors import AutomataError, Refused, Unavailable
from automata.git.mirror import Mirror
from automata.project.flows import ProjectFiles, ProjectFlows
from automata.project.source import Source, confirm_command
from automata.project.tree import Tree
from automata.store import sync as store
from automata.store.database import Connection, Database
from automata.store.sync import CurrentFlow, DesiredFlow, SourceRow
from automata.sync.plan import SyncPlan
from automata.sync.report import SyncReport, SyncStatus, error_record, plan_record

log = logging.getLogger(__name__)


class OvertakenError(Exception):
    """Another sync of this source came in between: the attempt has to start over."""


@dataclass(slots=True)
class Attempt:
    """The fields above the line are asked for; each step fills in some below it, and reads those of earlier ones.

    `head_before` is the source's head before anything was fetched. `unchanged`: the files are those of the last sync.
    `stored` are the flows that the plan was made from. `stack` is closed behind the last step: then the transaction of
    `apply` and `record` is committed, or rolled back when one of them failed.
    """

    db: Database
    source: Source
    dry_run: bool
    confirm: str | None
    on_step: Callable[[str], None]
    stack: AsyncExitStack
    # -- found out -----------------------------------------------------------------------------------------------------
    began: float = field(default_factory=time.monotonic)
    step: str = "fetch"
    branch: str = ""
    sha: str | None = None
    started_at: datetime | None = None
    row: SourceRow | None = None
    head_before: str | None = None
    mirror: Mirror = field(init=False)
    tree: Tree = field(init=False)
    rewritten: bool = False
    unchanged: bool = False
    files: ProjectFiles | None = None
    flows: ProjectFlows | None = None
    stored: list[CurrentFlow] | None = None
    plan: SyncPlan | None = None
    versions: Sequence[DesiredFlow] = ()
    conn: Connection = field(init=False)
    status: SyncStatus = "planned"

    def enter(self, step: str) -> None:
        """Name the step that begins, for whoever listens and for the record of a failure."""
        self.step = step
        self.on_step(step)

    async def find_source(self) -> None:
        """The row of the source, if it was synced before."""
        async with self.db.transaction() as conn:
            self.row = self.source.row_of(await store.list_sources(conn)) or self.row

    async def ensure_source(self) -> None:
        """The row of the source, made if there is none; while its branch is not known, it stays what it was."""
        source = self.source
        branch = self.branch or (self.row.branch if self.row else "")
        async with self.db.transaction() as conn:
            self.row = await store.ensure_source(
                conn, source.name, branch=branch, environment=source.environment, path=source.path
            )

    def report(self) -> SyncReport:
        """What the attempt did or, when it is a dry run, would do."""
        return SyncReport(
            status=self.status,
            sha=self.sha or "",
            source=self.source.name,
            branch=self.branch,
            environment=self.source.environment,
            plan=self.plan,
            diagnostics=self.flows.diagnostics if self.flows else (),
            rewritten=self.rewritten,
            duration_ms=round((time.monotonic() - self.began) * 1000),
        )

    async def failed(self, error: Exception) -> None:
        """Keep what went wrong: on the error, for the caller, and among the attempts of the source."""
        if isinstance(error, AutomataError):
            self._explain(error)
        if self.dry_run or self.started_at is None or (isinstance(error, Refused) and error.code == "pinned"):
            return
        try:
            # A wrong address typed once must not stay as a source for ever; one that is down, or refused, may be right.
            await (self.ensure_source() if isinstance(error, (Unavailable, Refused)) else self.find_source())
            if self.row is not None:
                await self._record_failure(self.row, error)
        except AutomataError as hidden:
            log.warning("the failed sync could not be recorded: %s", hidden)

    def _explain(self, error: AutomataError) -> None:
        error.details = {**error.details, "step": self.step, "sha": self.sha}
        if self.plan:
            error.details["actions"] = [action.to_json() for action in self.plan.changes]
        if error.code == "prune_blocked":
            command = confirm_command(self.source, self.branch, error.details["confirm"])
            error.hint = f"If this is meant: {command}"

    async def _record_failure(self, row: SourceRow, error: Exception) -> None:
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
