"""The life of a proposal: seen, submitted, checked, reviewed, applied.

Failure argument. `apply` moves the branch by compare-and-swap, from the base that the check was of to the merge that
was checked, and only then writes to the database. Whoever dies before the move has changed nothing. Behind it the base
holds the head, and whoever looks next sees that and records the proposal as applied; the sync is the controller's work
anyway. Of two that apply at once one moves the branch, the other is told that it moved. No transaction waits for a
remote: whoever rejects or closes it while the branch moves is too late, and it ends as APPLIED, which is what it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from automata.errors import AutomataError, Conflict, Refused, Usage
from automata.git.branches import (
    author_of,
    brought,
    commit_files,
    commit_merge,
    commit_squash,
    move,
    patch,
    refuse_checked_out,
)
from automata.git.changes import tree_of
from automata.git.names import shown
from automata.proposals.content import FilePair, file_pairs
from automata.proposals.forges.contract import Forge
from automata.proposals.forges.policy import pull_text, refuse_on_forge, require_pull, tell_check
from automata.proposals.participants import identity_of, maker_keys, refuse_unvouched
from automata.proposals.reader import ProposalReader
from automata.proposals.refusals import (
    check_comment,
    expect_head,
    first_line,
    refuse_draft,
    refuse_trouble,
    refuse_unapproved,
    refuse_writer,
    still_open,
    title_of,
)
from automata.proposals.status import ProposalStatus, find_base, fork_of
from automata.store import proposals as store
from automata.store.audit import AuditEvent, record_change
from automata.store.proposals import AppliedMerge, CheckRow, ProposalRow
from automata.sync.reconcile import sync_once
from automata.sync.report import SyncReport

log = logging.getLogger(__name__)


class ProposalSession(ProposalReader):
    """What somebody does with the proposals of one source. `open` makes one."""

    __slots__ = ()

    async def create(
        self, branch: str, files: Mapping[str, bytes | None], message: str, title: str | None
    ) -> ProposalStatus:
        """A branch off the base with one commit of `files` (paths from the repository's root; None takes one away)."""
        if branch in self.base.others:
            raise Usage(f"{shown(branch)} is the branch of an environment.", code="environment_branch")
        if branch.isascii() and branch.isdigit():
            raise Usage(f"{branch} is how a proposal is called, and cannot be its branch.", code="branch_name")
        title = title_of(title if title is not None else first_line(message))
        commit = await asyncio.to_thread(commit_files, self.mirror, self.base.sha, files, self.actor, message)
        await asyncio.to_thread(move, self.mirror, branch, None, commit)
        await asyncio.to_thread(self.mirror.fetch)
        return await self._named(await self.find(branch), title, "create")

    async def update(
        self, key: str, files: Mapping[str, bytes | None], message: str | None, title: str | None
    ) -> ProposalStatus:
        """One more commit on the branch, or another title."""
        title = None if title is None else title_of(title)
        proposal = still_open(await self.find(key))
        if files:
            commit = await asyncio.to_thread(
                commit_files, self.mirror, proposal.head, files, self.actor, message or "Update the proposal"
            )
            await asyncio.to_thread(move, self.mirror, proposal.row.branch, proposal.head, commit)
            await asyncio.to_thread(self.mirror.fetch)
        return await self._named(await self.find(str(proposal.row.number)), title, "update", proposal)

    async def _named(
        self, proposal: ProposalStatus, title: str | None, verb: str, before: ProposalStatus | None = None
    ) -> ProposalStatus:
        """Git has the commit already, and no transaction is of both: the log tells it right behind."""
        async with self.db.transaction() as conn:
            if title is not None:
                await store.rename_proposal(conn, proposal.row.id, title)
            if before is None or before.head != proposal.head:
                await store.add_makers(conn, proposal.row.id, maker_keys(self.actor))
            was = before and {"head": before.head, "title": before.row.title}
            now = {
                "branch": proposal.row.branch,
                "head": proposal.head,
                "title": proposal.row.title if title is None else title,
            }
            await record_change(conn, AuditEvent(f"proposal.{verb}", _object(proposal.row), was, now))
        return await self._again(proposal)

    async def submit(self, key: str) -> ProposalStatus:
        """Ask for a review; on a forge, by a pull request."""
        proposal = still_open(await self.find(key))
        if self.forge:
            await self.forge.open_pull(
                proposal.row.branch, proposal.base.branch, proposal.row.title, pull_text(proposal, self.page)
            )
        return await self._move(proposal, "PENDING_REVIEW", "submit")

    async def close(self, key: str) -> ProposalStatus:
        """End it unapplied; its branch stays, and its pull request is closed. Another push makes it a new proposal."""
        proposal = still_open(await self.find(key), there=False)
        if self.forge and (pull := await self.forge.find_pull(proposal.row.branch, proposal.base.branch)):
            await self.forge.close_pull(pull)
        return await self._move(proposal, "CLOSED", "close")

    async def review(self, key: str, *, approve: bool, comment: str, head: str | None = None) -> ProposalStatus:
        """Say yes or no to exactly what there is now. No ends the proposal. Who had a hand in it has no say.

        `head` is what was looked at, a SHA or the beginning of one: Conflict (`head_moved`) when it is another now.
        """
        proposal = await self.find(key)
        if approve:
            self._refuse_approval(proposal, head)
        else:
            refuse_on_forge(self.forge)
            expect_head(still_open(proposal), head)
            refuse_draft(proposal)
        check_comment(comment)
        async with self.db.transaction() as conn:
            await store.add_review(
                conn,
                proposal.row.id,
                proposal.binding,
                approved=approve,
                by=str(self.actor),
                comment=comment,
                identity=identity_of(self.actor) or None,
            )
            details = {"head": proposal.head, "approved": approve, "comment": comment}
            await record_change(conn, AuditEvent("proposal.review", _object(proposal.row), None, details))
        return await self._status_of(proposal.row) if approve else await self._move(proposal, "REJECTED", "reject")

    async def checkable(self, key: str) -> ProposalStatus:
        """What a check would be of. Raises Conflict for one that has ended or conflicts."""
        proposal = still_open(await self.find(key))
        refuse_trouble(proposal)
        return proposal

    async def check(self, key: str) -> tuple[ProposalStatus, CheckRow]:
        """Check the merge that it would be, and keep the result."""
        proposal = await self.checkable(key)
        _, check = await self._check(proposal)
        return await self._status_of(proposal.row), check

    async def difference(self, key: str) -> str:
        """What it changes, as Git writes it: from where it left the base to its head."""
        proposal = still_open(await self.find(key))
        return await asyncio.to_thread(lambda: patch(self.mirror, self.fork(proposal), proposal.head))

    async def file_pairs(self, key: str) -> list[FilePair]:
        """The files that it changes as they were and as they would be, side by side."""
        proposal = still_open(await self.find(key))
        return await asyncio.to_thread(
            lambda: file_pairs(self.mirror, self.fork(proposal), proposal.head, proposal.paths)
        )

    def fork(self, proposal: ProposalStatus) -> str:
        """Where the branch left the base. Raises Refused (`unrelated_history`)."""
        return fork_of(self.mirror, self.base, proposal.head)

    async def apply(self, key: str, *, head: str | None = None) -> tuple[ProposalStatus, SyncReport]:
        """Merge what was checked and approved, then sync. Raises Refused, Conflict; then the branch has not moved.

        `head`: see `review`.
        What the sync refuses is raised as it comes: the merge is made then, and the proposal applied.
        """
        proposal = await self.applicable(key, head=head)
        merge_sha, check = await self._check(proposal)
        if not check.passed:
            raise Refused(
                f"The check refuses it, by {', '.join(check.report.get('failed', ())) or 'an error'}.",
                code="check_failed",
                hint=f"automata proposal show {proposal.row.number}",
            )
        applied = await self._applied(proposal, merge_sha, self.base.sha, check, str(self.actor))
        still_open(replace(proposal, row=await self._row(str(proposal.row.number))))
        if self.forge:
            applied = await self._merge_there(self.forge, proposal, applied)
        else:
            applied = await self._merge_here(proposal, applied)
        what = {
            "merge": applied.merge_sha,
            "base": self.base.branch,
            "check": applied.check_id,
            "by": proposal.approvers,
        }
        deed = AuditEvent("proposal.apply", _object(proposal.row), {"sha": self.base.sha}, what)
        await self._record(proposal.row.id, applied, (*store.OPEN, "REJECTED", "CLOSED"), deed)
        synced = await sync_once(self.db, self.source)
        self.base = await asyncio.to_thread(find_base, self.mirror, self.source)
        return await self._again(proposal), synced

    async def _merge_here(self, proposal: ProposalStatus, applied: AppliedMerge) -> AppliedMerge:
        """Let the base be at the merge; on a remote that refuses it, at one commit with the same tree.

        Many take no merge commits, and few say so in their answer: what is refused for another reason is so again.
        """
        place = self.mirror, self.base.branch, self.base.sha
        try:
            await asyncio.to_thread(move, *place, applied.merge_sha)
            return applied
        except Refused as error:
            if error.code != "push_refused":
                raise
            author = await asyncio.to_thread(author_of, self.mirror, proposal.head)
            words = author, self.actor, _merge_message(proposal)
            squash = await asyncio.to_thread(commit_squash, self.mirror, self.base.sha, proposal.merge.tree, *words)
            with suppress(Refused):
                await asyncio.to_thread(move, *place, squash)
                return replace(applied, merge_sha=squash, commits=[squash])
            raise

    async def _merge_there(self, forge: Forge, proposal: ProposalStatus, applied: AppliedMerge) -> AppliedMerge:
        """Merge the pull request. A forge merges into its base as that is by then: what else came in is seen after."""
        pull = await require_pull(forge, proposal.row.branch, proposal.base.branch)
        await asyncio.to_thread(self.mirror.fetch)
        if await asyncio.to_thread(self.mirror.resolve, self.base.branch) != self.base.sha:
            raise Conflict(f"{self.base.branch} moved.", code="base_moved", hint="Look again; nothing was merged.")
        title = f"Merge pull request #{pull.number}: {proposal.row.title}"
        merge_sha = await forge.merge(pull, proposal.head, title, f"Proposal: {proposal.row.id}")
        await asyncio.to_thread(self.mirror.fetch)
        commits = await asyncio.to_thread(brought, self.mirror, self.base.sha, merge_sha)
        applied = replace(applied, merge_sha=merge_sha, commits=commits)
        if await asyncio.to_thread(tree_of, self.mirror, merge_sha) == proposal.merge.tree:
            return applied
        log.warning(
            "proposal %s was merged beside another change, so its check is of another tree", proposal.row.number
        )
        return replace(applied, check_id=None, review_ids=[])

    async def applicable(self, key: str, *, head: str | None = None) -> ProposalStatus:
        """What `apply` would merge, but for the check. Raises Refused, Conflict."""
        proposal = await self.find(key)
        self._refuse_apply(proposal, head)
        return proposal

    def obstacles(self, proposal: ProposalStatus) -> dict[str, AutomataError]:
        """Why whoever asks cannot `approve` or `apply` it as it is; what they can is not there."""
        obstacles: dict[str, AutomataError] = {}
        for act, guard in (("approve", self._refuse_approval), ("apply", self._refuse_apply)):
            try:
                guard(proposal)
            except AutomataError as error:
                obstacles[act] = error
        return obstacles

    def _refuse_approval(self, proposal: ProposalStatus, head: str | None = None) -> None:
        refuse_on_forge(self.forge)
        expect_head(still_open(proposal), head)
        refuse_draft(proposal)
        refuse_trouble(proposal)
        refuse_writer(proposal, self.actor)
        refuse_unvouched(self.actor)

    def _refuse_apply(self, proposal: ProposalStatus, head: str | None = None) -> None:
        expect_head(still_open(proposal), head)
        refuse_trouble(proposal)
        refuse_unapproved(proposal)
        refuse_checked_out(self.mirror, self.base.branch)

    async def _check(self, proposal: ProposalStatus) -> tuple[str, CheckRow]:
        """(merge commit, what the check says of it). What is known of exactly this is not found out again."""
        number, message = proposal.row.number, _merge_message(proposal)
        merge_sha = await asyncio.to_thread(
            commit_merge, self.mirror, self.base.sha, proposal.head, proposal.merge.tree, self.actor, message
        )
        if proposal.check and proposal.check.binding == proposal.binding:
            return merge_sha, proposal.check
        report = await self.checker(
            self.mirror.path, self.source.path, self.source.environment, self.base.sha, merge_sha
        )
        async with self.db.transaction() as conn:
            check = await store.add_check(
                conn, proposal.row.id, proposal.binding, passed=bool(report["ok"]), report=report
            )
            details = {"head": proposal.head, "passed": check.passed, "failed": list(report.get("failed", ()))}
            await record_change(conn, AuditEvent("proposal.check", _object(proposal.row), None, details))
        if self.forge:
            pull = await self.forge.find_pull(proposal.row.branch, proposal.base.branch)
            await tell_check(self.forge, proposal.head, pull, report, self.page and f"{self.page}{number}")
        return merge_sha, check

    async def _move(self, proposal: ProposalStatus, state: store.State, verb: str) -> ProposalStatus:
        async with self.db.transaction() as conn:
            row = await store.lock_proposal(conn, proposal.row.id)
            if row.state not in store.OPEN:
                raise Conflict(f"It is {row.state} meanwhile.", code="proposal_ended")
            await store.set_state(conn, row.id, state, by=str(self.actor) if state in store.ENDED else None)
            if state == "PENDING_REVIEW":
                await store.add_makers(conn, row.id, maker_keys(self.actor))
            await record_change(
                conn, AuditEvent(f"proposal.{verb}", _object(row), {"state": row.state}, {"state": state})
            )
        return await self._again(proposal)


def _merge_message(proposal: ProposalStatus) -> str:
    approved = "".join(f"Approved-by: {approver}\n" for approver in proposal.approvers)
    return f"Merge proposal {proposal.row.number}: {proposal.row.title}\n\nProposal: {proposal.row.id}\n{approved}"


def _object(row: ProposalRow) -> str:
    return f"proposal/{row.number}"
