"""The sync controller: keeps the flows of one environment at the head of its branch.

Failure argument. An attempt is all or nothing in itself (sync/reconcile.py), so the controller may be killed anywhere,
and any number may run: the second one finds nothing to do. What may pass by itself (a remote, the database) is
tried again with back-off. What will not (a wrong file, a guard that refused) waits for another commit: the
branch is looked at as before, but nothing is read, and nothing is recorded a second time. A conflict with another
flow may go away without a commit, so that is tried again now and then.

A webhook leaves a time in the source's row (store/sync_hints.py), which is looked at every few seconds. A webhook that
is lost, or was never sent, costs a poll. Polls are far apart only while a webhook announced the last new commit.
Whoever asks for a look leaves another time: it says nothing of webhooks, and has what is stuck tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from automata.errors import AutomataError, Conflict, Unavailable
from automata.git.branches import Person
from automata.pausing import pause
from automata.project.source import Source, head
from automata.proposals.forges.contract import Forge
from automata.proposals.forges.policy import tell_sync
from automata.proposals.reader import ProposalReader
from automata.settings import Settings
from automata.store.database import Database
from automata.store.sync import SourceRow, list_sources
from automata.store.sync_hints import record_seen_commit
from automata.store.sync_history import Difference
from automata.sync.drift import find_drift, heal_drift
from automata.sync.reconcile import sync_once
from automata.sync.report import broke_off
from automata.telemetry import SYNC_ATTEMPTS, SYNC_DRIFTED, SYNC_LAST, SYNC_PENDING, SYNC_PINNED, SYNC_SECONDS

log = logging.getLogger(__name__)

FIRST_PAUSE_SEC = 2.0
MAX_PAUSE_SEC = 600.0
_LOGGED = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks: at the branch, at it while webhooks come, at the database, for a hint."""

    interval_sec: float = 60.0
    hinted_sec: float = 600.0
    drift_sec: float = 300.0
    poll_sec: float = 2.0

    @classmethod
    def of(cls, settings: Settings) -> Pace:
        """The pace that the settings say."""
        slow = max(settings.sync_interval_sec, settings.sync_hinted_interval_sec)
        return cls(settings.sync_interval_sec, slow, settings.sync_drift_interval_sec, settings.poll_sec)


_Times = tuple[datetime | None, datetime | None]  # of a row: hinted_at, asked_at


class Controller:
    """`stuck` is the commit that failed for good, and is not tried again; `failures` count those of no commit.

    `announced` says that the last commit that was new had been announced by a webhook. `forge` is told what became of
    each commit.
    """

    def __init__(self, db: Database, source: Source, pace: Pace, forge: Forge | None = None) -> None:
        self._db = db
        self._forge = forge
        self._last_told = ""
        self._source = source.checked()
        self._pace = pace
        self._labels = (source_label(self._source), source.environment)
        self._known_times: _Times = (None, None)
        self._looked = False  # a hint from before the first look is nothing new
        self._retry_at = float("inf")  # of what is stuck
        self._drift_at = 0.0
        self._behind = False
        self.stuck: str | None = None
        self.failures = 0
        self.announced = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the branch until `stop`."""
        while not stop.is_set():
            seconds = await self.run_once()
            await self._wait(stop, seconds * random.uniform(0.9, 1.0))  # noqa: S311 - jitter

    async def run_once(self) -> float:
        """One look; returns the seconds until the next. Raises nothing: failures are logged and counted."""
        try:
            row = await self._row()
            times = _times(row)
            hinted, asked = (
                self._looked and now not in (None, then) for now, then in zip(times, self._known_times, strict=True)
            )
            self._known_times, self._looked = times, True
            if asked:
                self._retry_at = 0.0
            await self._follow(row, hinted)
            await self._check_drift()
        except Unavailable as error:
            return self._back_off(error)
        except AutomataError as error:
            self._give_up(error)
            await self._tell_forge(self.stuck, error)
            if not self.stuck:  # not of one commit: what a person has to mend is looked at ever more rarely
                return self._pause_sec()
        except Exception as error:
            log.exception("sync: it broke off")
            self._give_up(broke_off(error))
            return self._pause_sec()
        self.failures = 0
        return self._pace.hinted_sec if self.announced else self._pace.interval_sec

    async def _follow(self, row: SourceRow | None, hinted: bool) -> None:
        SYNC_PINNED.labels(*self._labels).set(bool(row and row.pinned_at))
        if row and row.pinned_at:
            self.stuck = None
            await self._record_head(row, await self._head(), hinted)
            SYNC_ATTEMPTS.labels(*self._labels, "pinned").inc()
            return
        if row and row.head_sha == self.stuck:
            self.stuck = None  # somebody confirmed it, on the command line
        if self.stuck and time.monotonic() < self._retry_at:
            sha = await self._head()
            if sha == self.stuck:
                await self._record_head(row, sha, hinted)
                return
        await self._sync(row, hinted)

    async def _sync(self, row: SourceRow | None, hinted: bool) -> None:
        began = time.monotonic()
        try:
            report = await sync_once(self._db, self._source)
        except AutomataError as error:
            await self._record_head(row, error.details.get("sha"), hinted)
            raise
        self.stuck = None
        SYNC_SECONDS.observe(time.monotonic() - began)
        SYNC_ATTEMPTS.labels(*self._labels, report.status).inc()
        SYNC_LAST.labels(*self._labels).set_to_current_time()
        for warning in report.diagnostics:
            log.warning("sync: %s", warning)
        if report.rewritten:
            log.warning("sync: the history of %s was rewritten since the last sync", report.branch)
        if report.status == "synced":
            log.info("sync: %s", report.summary())
            self._drift_at = 0.0
            await self._notice_merged()
        await self._record_head(row, report.sha, hinted, current=True)
        await self._tell_forge(report.sha)

    async def _notice_merged(self) -> None:
        """A merge that somebody made elsewhere is known for what it is, though nobody looks at proposals."""
        try:
            nobody = Person("Automata", "automata@localhost")
            reader = await ProposalReader.open(self._db, self._source, nobody, fetched=True)
            await reader.notice_merged()
        except AutomataError as error:
            log.warning("sync: whether the commit brought proposals could not be told: %s", error)

    async def _tell_forge(self, sha: str | None, error: AutomataError | None = None) -> None:
        """Tell the forge, once a commit and outcome."""
        if self._forge and sha and self._last_told != f"{sha} {error}":
            self._last_told = f"{sha} {error}"
            await tell_sync(self._forge, sha, self._source.environment, error)

    async def _record_head(
        self, row: SourceRow | None, sha: str | None, hinted: bool, *, current: bool = False
    ) -> None:
        """Write where the branch is; `row` was read before that was known, `current` says that the flows are there."""
        if sha is None:
            return
        if row is not None and row.seen_sha not in (None, sha):
            self.announced = hinted
        if row is not None and not current:
            current = row.head_sha == sha
            async with self._db.connection() as conn:
                await record_seen_commit(conn, row.id, sha)
        if current:
            SYNC_PENDING.labels(*self._labels).set(0)
        elif not self._behind:
            SYNC_PENDING.labels(*self._labels).set_to_current_time()
        self._behind = not current

    async def _check_drift(self) -> None:
        if time.monotonic() < self._drift_at or (row := await self._row()) is None or row.head_sha is None:
            return
        self._drift_at = time.monotonic() + self._pace.drift_sec
        differences = await find_drift(self._db, row.id)
        if differences and row.heal:
            try:
                differences = await heal_drift(self._db, row.id)
            except Conflict as error:
                log.error("sync: what was changed beside Git cannot be put back: %s", error)
            else:
                SYNC_ATTEMPTS.labels(*self._labels, "healed").inc()
                log.warning("sync: put back what was changed beside Git: %s", _describe(differences))
                differences = []
        elif differences and len(differences) != (row.drift or {}).get("count"):
            log.warning("sync: changed beside Git: %s", _describe(differences))
        SYNC_DRIFTED.labels(*self._labels).set(len(differences))

    def _pause_sec(self) -> float:
        self.failures += 1
        return max(self._pace.interval_sec, min(FIRST_PAUSE_SEC * 2.0 ** min(self.failures - 1, 20), MAX_PAUSE_SEC))

    def _back_off(self, error: Unavailable) -> float:
        self.failures += 1
        SYNC_ATTEMPTS.labels(*self._labels, "unavailable").inc()
        pause_sec = min(FIRST_PAUSE_SEC * 2.0 ** min(self.failures - 1, 20), MAX_PAUSE_SEC)
        log.warning("sync: %s; again in %.0f s", error, pause_sec)
        return pause_sec

    def _give_up(self, error: AutomataError) -> None:
        SYNC_ATTEMPTS.labels(*self._labels, "failed").inc()
        sha, before = error.details.get("sha") or None, self.stuck
        self.stuck = sha
        self._retry_at = time.monotonic() + MAX_PAUSE_SEC if isinstance(error, Conflict) else float("inf")
        if sha and sha == before:
            return  # logged already
        log.error("sync: %s%s", error, "; waiting for another commit" if self.stuck else "")
        for finding in error.diagnostics:
            log.error("sync: %s", finding)

    async def _head(self) -> str:
        return await asyncio.to_thread(head, self._source)

    async def _row(self) -> SourceRow | None:
        async with self._db.connection() as conn:
            return self._source.row_of(await list_sources(conn))

    async def _wait(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until it is time, a hint comes or the process ends; drift is checked meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await pause(min(left, self._pace.poll_sec), stop)
            if stop.is_set():
                return
            with suppress(AutomataError):  # the next look logs it, in its time
                row = await self._row()
                if row and _times(row) != self._known_times:
                    return
                await self._check_drift()


def _times(row: SourceRow | None) -> _Times:
    return (row.hinted_at, row.asked_at) if row else (None, None)


def source_label(source: Source) -> str:
    """How metrics and parts of a process name a source."""
    return f"{source.name}//{source.path}" if source.path else source.name


def _describe(differences: list[Difference]) -> str:
    more = f"; and {len(differences) - _LOGGED} more" if len(differences) > _LOGGED else ""
    return "; ".join(difference.message for difference in differences[:_LOGGED]) + more
