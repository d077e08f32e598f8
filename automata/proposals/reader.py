"""The proposals of one source as they are now: found by their branches, and by what the database has of them.

A branch that changes the project becomes a draft when somebody looks. One that the base holds by then was merged beside
us, or by an apply that died behind its move, and is recorded as applied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

from automata.errors import AutomataError, Missing, Usage
from automata.git.branches import (
    Person,
    author_of,
    brought,
    merge_of,
    newest_branches,
    signers,
)
from automata.git.changes import tree_of
from automata.git.mirror import Mirror
from automata.git.names import shown
from automata.project.source import Source
from automata.proposals.check_process import Checker, run_check
from automata.proposals.forges.contract import Forge
from automata.proposals.forges.policy import with_forge_reviews
from automata.proposals.participants import known_writers
from automata.proposals.status import Base, ProposalStatus, changes_project, find_base, find_status
from automata.store import proposals as store
from automata.store.audit import AuditEvent, record_change
from automata.store.database import Connection, Database
from automata.store.people import vouched_mails
from automata.store.proposals import AppliedMerge, CheckRow, ProposalRow, ReviewRow
from automata.store.sync import SourceRow, ensure_source

MAX_BRANCHES = 10_000  # that are looked at for proposals, those with the newest commits first

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProposalReader:
    """The proposals of one source, for `actor`, beside the base as it is now. `open` makes one."""

    db: Database
    source: Source
    actor: Person
    mirror: Mirror
    base: Base
    row: SourceRow
    checker: Checker = run_check
    forge: Forge | None = None
    page: str = ""  # where the console shows a proposal: `https://…/proposals/`
    known: frozenset[str] | None = None  # whose addresses somebody vouches for, as of the last look

    @classmethod
    async def open(
        cls,
        db: Database,
        source: Source,
        actor: Person,
        checker: Checker = run_check,
        *,
        fetched: bool = False,
        forge: Forge | None = None,
        page: str = "",
    ) -> Self:
        """Fetches, unless the caller did. Raises Missing, Usage, Unavailable."""
        source = source.checked()
        mirror = await asyncio.to_thread(source.open if fetched else lambda: _fetched(source))
        base = await asyncio.to_thread(find_base, mirror, source)
        async with db.transaction() as conn:
            row = await ensure_source(
                conn, source.name, branch=base.branch, environment=source.environment, path=source.path
            )
        return cls(db, source, actor, mirror, base, row, checker, forge, page)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def survey(
        self, *, ended: bool = False, before: int | None = None, limit: int = store.MAX_PROPOSALS
    ) -> list[ProposalStatus]:
        """Proposals, newest first; branches that change the project and were not seen before become drafts.

        `ended`: also those; `before`: with lower numbers than that.
        """
        await self._read_known()
        async with self.db.connection() as conn:
            heads = await store.list_heads(conn, self.row.id)
        seen = await asyncio.to_thread(self._branches, heads)
        async with self.db.transaction() as conn:
            for branch, head, author in seen:
                await self._see(conn, branch, head, author)
        return await self._page(ended, before, limit)

    async def survey_all(self, *, ended: bool = False) -> list[ProposalStatus]:
        """The same, however many there are."""
        proposals = page = await self.survey(ended=ended, limit=store.MAX_PROPOSALS)
        while len(page) == store.MAX_PROPOSALS:
            page = await self._page(ended, page[-1].row.number, store.MAX_PROPOSALS)
            proposals = proposals + page
        return proposals

    async def notice_merged(self) -> None:
        """Record what the base has by now of the proposals that are open, for a run that asks where it came from."""
        async with self.db.connection() as conn:
            rows = await store.list_proposals(conn, self.row.id)
        for row in rows:
            await self._status_of(row)

    async def _page(self, ended: bool, before: int | None, limit: int) -> list[ProposalStatus]:
        async with self.db.connection() as conn:
            rows = await store.list_proposals(conn, self.row.id, ended=ended, before=before, limit=limit)
        return [await self._status_of(row) for row in rows]

    async def find(self, key: str) -> ProposalStatus:
        """One proposal by its number or branch, with what was said of it on the forge.

        Raises Missing, and Unavailable for a branch that cannot be read, or a forge that does not answer.
        """
        broken: AutomataError | None = None
        await self._read_known()
        try:
            await self._notice(key)
        except (Missing, Usage):
            pass
        except AutomataError as error:
            broken = error
        try:
            row = await self._row(key)
        except Missing:
            if broken:
                raise broken from None
            raise
        if row.branch != key and row.state in store.OPEN:
            with suppress(AutomataError):  # its status says what is wrong with it
                await self._notice(row.branch)
            row = await self._row(str(row.number))
        proposal = await self._status_of(row)
        if self.forge and proposal.row.state == "PENDING_REVIEW" and proposal.head:
            return await with_forge_reviews(self.forge, proposal, await asyncio.to_thread(self._signers, proposal))
        return proposal

    def _signers(self, proposal: ProposalStatus) -> dict[tuple[str, str], str]:
        if proposal.trouble:
            return {}  # it cannot be merged, whoever wrote it
        return signers(self.mirror, brought(self.mirror, self.base.sha, proposal.head))

    async def _read_known(self) -> None:
        """On a forge it is the forge that knows people."""
        if self.forge is None:
            async with self.db.connection() as conn:
                self.known = known_writers(await vouched_mails(conn))

    async def _notice(self, branch: str) -> None:
        """Where a branch is now, if it is a proposal's."""
        if branch in self.base.others:
            return
        head = await asyncio.to_thread(self.mirror.resolve, branch)
        if await asyncio.to_thread(changes_project, self.mirror, self.source, self.base, head):
            author = await asyncio.to_thread(author_of, self.mirror, head)
            async with self.db.transaction() as conn:
                await self._see(conn, branch, head, author)

    async def _row(self, key: str) -> ProposalRow:
        async with self.db.connection() as conn:
            return await store.find_proposal(conn, self.row.id, key)

    async def _see(self, conn: Connection, branch: str, head: str, author: Person) -> None:
        if not await store.was_ended(conn, self.row.id, branch, head):
            await store.open_proposal(conn, self.row.id, branch, head=head, title=branch, author=str(author))

    def _branches(self, known: Collection[tuple[str, str]]) -> list[tuple[str, str, Person]]:
        """Those that change the project, and are not at a head that is known of them already."""
        heads = [pair for pair in newest_branches(self.mirror) if pair[0] not in self.base.others]
        if len(heads) > MAX_BRANCHES:
            log.warning("%s has %s branches: only the newest are looked at", self.source.name, f"{len(heads):,}")
        branches = []
        for branch, head in heads[:MAX_BRANCHES]:
            if (branch, head) in known:
                continue
            try:
                if changes_project(self.mirror, self.source, self.base, head):
                    branches.append((branch, head, author_of(self.mirror, head)))
            except AutomataError as error:
                # Objects that are broken, or more than is read: no reason to hide the rest.
                log.info("the branch %s is no proposal: %s", shown(branch), error)
        return branches

    async def _status_of(self, row: ProposalRow) -> ProposalStatus:
        async with self.db.connection() as conn:
            checks = await store.list_checks(conn, row.id)
            reviews = await store.list_reviews(conn, row.id)
        proposal = await asyncio.to_thread(
            find_status, self.mirror, self.source, self.base, row, checks, reviews, self.known
        )
        if proposal.merged and row.state in store.OPEN:
            return await self._merged(proposal, checks, reviews)
        return proposal

    async def _merged(
        self, proposal: ProposalStatus, checks: Sequence[CheckRow], reviews: Sequence[ReviewRow]
    ) -> ProposalStatus:
        """The base holds it already: by somebody's own merge, squash or rebase, or an apply that died behind its move.

        Only what was said of exactly this merge is kept with it: to say less than was so is safe, to say more is not.
        """
        head = proposal.row.head_sha
        if proposal.landing:
            merge_sha, before = proposal.landing.commit, proposal.landing.before
        else:
            merge = await asyncio.to_thread(merge_of, self.mirror, self.base.sha, head)
            merge_sha, before = merge or (self.base.sha, self.base.sha)
        tree = await asyncio.to_thread(tree_of, self.mirror, merge_sha)
        of_this_merge = (item for item in checks if (item.head, item.base, item.tree) == (head, before, tree))
        check = next(of_this_merge, None)
        held = tuple(review for review in reviews if check and review.binding == check.binding)
        applied = await self._applied(replace(proposal, reviews=held), merge_sha, before, check, None)
        await self._record(proposal.row.id, applied, store.OPEN)
        return await self._again(proposal)

    async def _again(self, proposal: ProposalStatus) -> ProposalStatus:
        return await self._status_of(await self._row(str(proposal.row.number)))

    async def _applied(
        self, proposal: ProposalStatus, merge_sha: str, before: str, check: CheckRow | None, by: str | None
    ) -> AppliedMerge:
        commits = await asyncio.to_thread(brought, self.mirror, before, merge_sha)
        async with self.db.transaction() as conn:
            # What was said on the forge is kept once it counts; until then the forge is asked each time.
            review_ids = [
                review.id or (await store.copy_review(conn, proposal.row.id, review)).id
                for review in proposal.approvals
            ]
        return AppliedMerge(merge_sha, commits, by, check.id if check else None, review_ids)

    async def _record(
        self, id: UUID, applied: AppliedMerge, states: Collection[store.State], *deeds: AuditEvent
    ) -> None:
        """It is applied, unless it is in none of `states` by now."""
        async with self.db.transaction() as conn:
            row = await store.lock_proposal(conn, id)
            if row.state in states:
                await store.set_applied(conn, row.id, applied)
            if deeds:
                await record_change(conn, *deeds)


def _fetched(source: Source) -> Mirror:
    mirror = source.open()
    mirror.fetch()
    return mirror
