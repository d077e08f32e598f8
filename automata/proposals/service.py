"""The proposals of a server's own source, for everybody who asks at once: its REST API and its pages.

Failure argument. Every request has a mirror object of its own, since one is not for several threads. What they share
is bounded: one fetch at a time, of which those who wait take the result when it began after they came; few requests
read Git side by side, and those that wait in line are counted. Checks run behind the request, few at once. What they
found is in the database when they end; a server that dies takes its checks with it, and the proposal is `pending`
again. Two servers may check the same at once: both results are of the same binding.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cachetools import FIFOCache

from automata.errors import AutomataError, Busy, Conflict, Unavailable
from automata.git.branches import Person
from automata.project.source import Source, source_of
from automata.proposals.check_process import Checker, run_check, run_plan
from automata.proposals.content import flow_file, flow_path, spec_text
from automata.proposals.forges.factory import forge_of, page_of
from automata.proposals.lifecycle import ProposalSession
from automata.proposals.status import ProposalStatus
from automata.proposals.view import detail, summary
from automata.proposals.writable import refuse_unwritable
from automata.settings import Settings
from automata.store.audit import skip_audit
from automata.store.database import Database
from automata.sync.report import SyncReport

READ_AGE_SEC = 5.0  # how old what was fetched may be for whoever only looks
MAX_AT_ONCE = 3  # requests that read Git: each holds a thread of the few that the process has
MAX_WAITING = 50
MAX_CHECKS = 2  # each is a process of its own, with up to a core and 4 GiB
MAX_KEPT = 200  # plans, and checks that broke off

log = logging.getLogger(__name__)


class SharedFetch:
    """One fetch at a time; whoever waits for one that began after they came takes its result."""

    def __init__(self, fetch: Callable[[Source], None] | None = None) -> None:
        self._fetch = fetch or (lambda source: source.open().fetch())
        self._lock = asyncio.Lock()
        self._begun = float("-inf")
        self._error: AutomataError | None = None

    async def __call__(self, source: Source, age_sec: float) -> None:
        """Have what the remote held at most `age_sec` before now. Raises what the fetch raised."""
        asked_at = time.monotonic()
        async with self._lock:
            if self._begun < asked_at - age_sec:
                begun = time.monotonic()
                try:
                    await asyncio.to_thread(self._fetch, source)
                    self._error = None
                except AutomataError as error:
                    self._error = error
                self._begun = begun
            if self._error is not None:
                raise self._error.with_traceback(None)


@dataclass(slots=True)
class BackgroundJob:
    """A check, or an apply that may need one, behind the request that asked for it."""

    kind: str
    task: asyncio.Task[Any]


@dataclass(slots=True)
class ProposalService:
    """`checker` and `planner` make reports; tests may give their own."""

    db: Database
    settings: Settings
    checker: Checker = run_check
    planner: Callable[..., Awaitable[dict[str, Any]]] = run_plan
    fetching: SharedFetch = field(default_factory=SharedFetch)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))
    _waiting: int = 0
    _jobs: dict[UUID, BackgroundJob] = field(default_factory=dict)
    _errors: FIFOCache[UUID, AutomataError] = field(default_factory=lambda: FIFOCache(MAX_KEPT))
    _plans: FIFOCache[tuple[str, str], dict[str, Any]] = field(default_factory=lambda: FIFOCache(MAX_KEPT))

    @asynccontextmanager
    async def session(self, actor: Person, *, fresh: bool = True) -> AsyncIterator[ProposalSession]:
        """What one request does its work with. Raises Usage (`no_repository`), Busy, Unavailable, Missing."""
        source = source_of(self.settings)
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} requests wait for proposals.", hint="Try again in a second.")
        self._waiting += 1
        try:
            await self.fetching(source, 0.0 if fresh else READ_AGE_SEC)
            async with self._slots:
                yield await ProposalSession.open(
                    self.db,
                    source,
                    actor,
                    self.checker,
                    fetched=True,
                    forge=forge_of(self.settings, source),
                    page=page_of(self.settings),
                )
        finally:
            self._waiting -= 1

    # -- making ----------------------------------------------------------------------------------------------------

    async def create(
        self, actor: Person, branch: str, files: Mapping[str, str | None], message: str, title: str | None
    ) -> ProposalStatus:
        """See ProposalSession.create; only files that Automata reads (writable.py)."""
        async with self.session(actor) as session:
            refuse_unwritable(session.source, session.base.project, files)
            return await session.create(branch, _encoded(files), message, title)

    async def update(
        self, actor: Person, key: str, files: Mapping[str, str | None], message: str | None, title: str | None
    ) -> ProposalStatus:
        """See ProposalSession.update; only files that Automata reads (writable.py)."""
        async with self.session(actor) as session:
            refuse_unwritable(session.source, session.base.project, files)
            return await session.update(key, _encoded(files), message, title)

    async def propose_flow(
        self,
        actor: Person,
        flow: str,
        *,
        branch: str,
        message: str,
        title: str | None,
        path: str | None,
        content: str | Mapping[str, Any],
    ) -> ProposalStatus:
        """A proposal that changes one flow, whose text or spec `content` is, where the base has it or at `path`."""
        async with self.session(actor) as session:
            if path is None:
                path = await asyncio.to_thread(flow_path, session.mirror, session.source, session.base.sha, flow)
            refuse_unwritable(session.source, session.base.project, [path])
            text = content if isinstance(content, str) else spec_text(path, content)
            return await session.create(branch, {path: text.encode()}, message, title)

    async def file_of(self, actor: Person, flow: str) -> tuple[str, str]:
        """The path and the text of a flow's file, as the base has it now. Raises Missing, Invalid."""
        async with self.session(actor) as session:
            return await asyncio.to_thread(flow_file, session.mirror, session.source, session.base.sha, flow)

    # -- looking ---------------------------------------------------------------------------------------------------

    def summary(self, proposal: ProposalStatus) -> dict[str, Any]:
        """As data; `checks` is `running` while this process checks it."""
        return {**summary(proposal), "checks": self._checks(proposal)}

    def detail(self, proposal: ProposalStatus) -> dict[str, Any]:
        """As data; `trouble` is why the last check or apply behind a request came to nothing, as far as known here."""
        error = self._errors.get(proposal.row.id)
        trouble = error and {"code": error.code, "message": error.message, "hint": error.hint}
        return {**detail(proposal), "checks": self._checks(proposal), "trouble": trouble}

    def _checks(self, proposal: ProposalStatus) -> str:
        return "running" if proposal.row.id in self._jobs else proposal.checks

    async def plan(self, key: str, actor: Person) -> dict[str, Any]:
        """What it means, by the report of `automata plan`. Raises Conflict, Unavailable."""
        async with self.session(actor, fresh=False) as session:
            proposal = await session.checkable(key)
            fork = await asyncio.to_thread(session.fork, proposal)
            known = self._plans.get((fork, proposal.head))
            if known is None:
                place = session.mirror.path, session.source.path, session.source.environment
                known = await self.planner(*place, fork, proposal.head)
                self._plans[fork, proposal.head] = known
            return known

    # -- what takes its time ---------------------------------------------------------------------------------------

    async def check(self, key: str, actor: Person, wait_sec: float = 0) -> ProposalStatus:
        """Check it behind the request; its status after `wait_sec`, or as soon as it ended. Raises Busy, Conflict.

        One that is being checked already is not checked twice.
        """
        skip_audit()  # the check writes its own when it ends, behind the request perhaps
        async with self.session(actor) as session:
            proposal = await session.checkable(key)
        job = self._jobs.get(proposal.row.id)
        if job is None or job.kind != "check":
            job = self._start("check", proposal.row.id, lambda: session.check(str(proposal.row.number)))
        if not await _ended(job, wait_sec):
            return proposal
        job.task.result()
        async with self.session(actor, fresh=False) as session:
            return await session.find(str(proposal.row.number))

    async def apply(
        self, key: str, actor: Person, wait_sec: float, *, head: str | None = None
    ) -> tuple[ProposalStatus, SyncReport | None]:
        """Merge and sync it; no report: that is still under way after `wait_sec`, for it has to be checked first.

        `head` is what was looked at: see ProposalSession.review.
        """
        skip_audit()
        async with self.session(actor) as session:
            proposal = await session.applicable(key, head=head)
        job = self._start("apply", proposal.row.id, lambda: session.apply(str(proposal.row.number), head=head))
        if not await _ended(job, wait_sec):
            return proposal, None
        applied: tuple[ProposalStatus, SyncReport] = job.task.result()
        return applied

    def _start(self, kind: str, id: UUID, act: Callable[[], Awaitable[Any]]) -> BackgroundJob:
        if under_way := self._jobs.get(id):
            what = "checked" if under_way.kind == "check" else "applied"
            raise Conflict(f"It is being {what} at this moment.", code="under_way", hint="Wait until that has ended.")
        if len(self._jobs) >= MAX_CHECKS:
            raise Busy(
                f"{MAX_CHECKS} proposals are being checked.",
                code="too_many_checks",
                hint="Try again when one of them has ended.",
                details={"retry_after_sec": 10},
            )
        self._errors.pop(id, None)
        self._jobs[id] = BackgroundJob(kind, asyncio.create_task(self._run(id, act)))
        return self._jobs[id]

    async def _run(self, id: UUID, act: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await act()
        except AutomataError as error:
            self._errors[id] = error
            raise
        except Exception as error:
            log.exception("a check or an apply behind a request crashed")
            broke = Unavailable("It broke off; the server's log says why.", code="internal")
            self._errors[id] = broke
            raise broke from error
        finally:
            del self._jobs[id]


async def _ended(job: BackgroundJob, wait_sec: float) -> bool:
    job.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # heard, also when nobody waits
    await asyncio.wait({job.task}, timeout=wait_sec)
    return job.task.done()


def _encoded(files: Mapping[str, str | None]) -> dict[str, bytes | None]:
    return {path: None if text is None else text.encode() for path, text in files.items()}
