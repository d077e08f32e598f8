"""The status of a proposal: its commits, the merge that they would make, and the checks and reviews of exactly that.

Checks and approvals are bound to head, base, merge tree and policy. A push makes another head, so both fall away. A
base that moved makes another tree; what was said still holds when nothing moved there that the proposal has to do with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from automata.errors import AutomataError, Conflict, Missing, Refused
from automata.flow.model import canonical_json
from automata.git.branches import (
    MAX_COMMITS,
    brought,
    contains,
    key_of,
    writers,
)
from automata.git.changes import changed_paths
from automata.git.landings import Landing, find_landing
from automata.git.merges import Merge, merge
from automata.git.mirror import Mirror
from automata.git.vetting import vet_history
from automata.project.flows import list_files, validate
from automata.project.manifest import FILE, Project, environment_branches, read_project
from automata.project.source import Source, choose_branch
from automata.proposals.participants import is_vouched, maker_mails
from automata.store.proposals import Binding, CheckRow, ProposalRow, ReviewRow

ChecksState = Literal["pending", "passed", "failed", "stale"]
ProposalState = Literal["DRAFT", "PENDING_REVIEW", "APPROVED", "APPLIED", "REJECTED", "CLOSED"]
# What decides over flows without being one: whatever moves here has to do with every proposal.
MAX_COMPARED_BYTES = 32 * 1024 * 1024  # of all flows, read in the server to tell what is related
SHARED = (FILE, "environments/", "tests/")


@dataclass(frozen=True, slots=True)
class Base:
    """The branch that an environment follows, and the policy that holds for what shall be merged into it."""

    branch: str
    sha: str
    policy: Mapping[str, Any]
    digest: str
    others: frozenset[str]  # branches of environments: none of them is a proposal
    trouble: AutomataError | None = None  # why nothing may be merged: nobody can tell what the policy is
    project: Project = field(default_factory=Project)

    @property
    def approvals(self) -> int:
        """How many approvals the project asks for."""
        return int(self.policy.get("approvals", 0))


@dataclass(frozen=True, slots=True)
class ProposalStatus:
    """`head` "": the branch is gone. `merged`: the base holds it. `behind`: the base moved since it branched off.

    `landing` is how the base holds what it changed, when it does not hold the head itself.

    `writers` are the keys of all who contributed to it, `unknown` those of them for whom nobody vouches. `trouble` is
    why it can be neither approved nor merged.
    """

    row: ProposalRow
    base: Base
    head: str
    merge: Merge
    merged: bool
    behind: bool
    paths: tuple[str, ...]
    check: CheckRow | None
    checks: ChecksState
    reviews: tuple[ReviewRow, ...]
    writers: frozenset[str] = frozenset()
    trouble: AutomataError | None = None
    landing: Landing | None = None
    unknown: frozenset[str] = frozenset()

    @property
    def binding(self) -> Binding:
        """What a check or a review made now would be of."""
        return Binding(self.head, self.base.sha, self.merge.tree, self.base.digest)

    @property
    def approvals(self) -> list[ReviewRow]:
        """Everybody counts once, by the last review; who contributed not at all, nor for whom nobody vouches."""
        last: dict[str, ReviewRow] = {}
        tokens: set[str] = set()
        for review in self.reviews:  # the newest first
            by, identity = key_of(review.by), review.identity or ""
            if by not in last and identity not in tokens:
                last[by] = review
            tokens |= {identity} - {""}
        return [last[by] for by in sorted(last) if last[by].approved and self._counts(by, last[by])]

    def _counts(self, by: str, review: ReviewRow) -> bool:
        # What has ended was decided by the rules of its day, and is told as it was.
        return self.row.ended_at is not None or (is_vouched(by) and not self.is_of(by, review.identity or ""))

    def is_of(self, mail: str, identity: str) -> bool:
        """Whether somebody, by `Person.key` or what let them in, has had a hand in it."""
        return mail in self.writers or bool({f"mail:{mail}", identity} & set(self.row.makers))

    @property
    def needed(self) -> int:
        """How many approvals it needs: what the project asks for, and one more for each unknown writer."""
        return self.base.approvals + len(self.unknown) if self.base.approvals else 0

    @property
    def approvers(self) -> list[str]:
        """Who approved, as `NAME <MAIL>`."""
        return [review.by for review in self.approvals]

    @property
    def state(self) -> ProposalState:
        """The state of its row, or APPROVED when nothing keeps it from being applied."""
        if self.row.state == "PENDING_REVIEW" and len(self.approvers) >= self.needed and self.ready:
            return "APPROVED"
        return self.row.state

    @property
    def ready(self) -> bool:
        """Whether it can be merged and its check passed."""
        sound = self.head and not self.merge.conflicts and not self.trouble and not self.base.trouble
        return bool(sound) and self.checks == "passed"

    @property
    def conditions(self) -> list[str]:
        """As people read them: `checks: passed`, `conflicted: flows/a.yaml`, `behind`."""
        if not self.head:
            return ["the branch is gone"]
        conflicts = [f"conflicted: {', '.join(self.merge.conflicts)}"] if self.merge.conflicts else []
        behind = ["behind"] if self.behind else []
        troubles = [trouble.message.rstrip(".") for trouble in (self.trouble, self.base.trouble) if trouble]
        return [f"checks: {self.checks}", *conflicts, *behind, *troubles]


def find_base(mirror: Mirror, source: Source) -> Base:
    """Raises Missing when the environment's branch is gone."""
    branch = choose_branch(mirror, source)
    sha = mirror.resolve(branch)
    tree = mirror.tree(sha, source.path)
    project, diagnostics = read_project(tree)
    rules = [dict(project.checks), list(project.masked), project.policy.prune]
    digest = hashlib.sha256(canonical_json(rules).encode()).hexdigest()
    branches = {name for name in environment_branches(tree).values() if name}
    trouble = None
    if any(item.severity == "error" for item in diagnostics):
        # Its defaults would ask for less than it did before somebody broke it.
        trouble = Refused(
            f"{FILE} on {branch} is not valid, so nobody can tell what it asks for.",
            code="policy_unreadable",
            hint=f"Mend it on {branch} with git; automata validate shows what is wrong.",
        )
    return Base(branch, sha, project.checks, digest, frozenset({branch, *branches}), trouble, project)


def changes_project(mirror: Mirror, source: Source, base: Base, head: str) -> tuple[str, ...]:
    """The project's paths that a branch changes since it left the base. Raises Refused for one that is not read."""
    vet_history(mirror, base.sha, head)
    fork = mirror.merge_base(base.sha, head)
    if fork is None or fork == head:
        return ()
    prefix = f"{source.path}/" if source.path else ""
    return tuple(sorted(path for path in changed_paths(mirror, fork, head) if path.startswith(prefix)))


def fork_of(mirror: Mirror, base: Base, head: str) -> str:
    """Where a branch left the base. Raises Refused (`unrelated_history`)."""
    if fork := mirror.merge_base(base.sha, head):
        return fork
    raise Refused(f"It has no history in common with {base.branch}.", code="unrelated_history")


def find_status(
    mirror: Mirror,
    source: Source,
    base: Base,
    row: ProposalRow,
    checks: Sequence[CheckRow],
    reviews: Sequence[ReviewRow],
    known: frozenset[str] | None = None,
) -> ProposalStatus:
    """`checks` and `reviews` newest first, as the store lists them; `known`: see `known_writers`."""
    try:
        head = mirror.resolve(row.branch)
    except Missing:
        head = ""
    if row.ended_at is not None:
        return _ended(row, base, head, checks, reviews)
    try:
        _vet(mirror, base, row, head)
    except AutomataError as error:
        return replace(_ended(row, base, head, checks, ()), trouble=error)
    # Of the head that was last seen as a proposal: a branch that was set back to the base has merged nothing.
    held = contains(mirror, base.sha, row.head_sha) and (not head or contains(mirror, base.sha, head))
    if held:
        return replace(_ended(row, base, head, checks, reviews), merged=True)
    # A squash or a rebase leaves the head where it was, and the forge may have deleted the branch behind it.
    if head in ("", row.head_sha) and (landing := find_landing(mirror, base.sha, row.head_sha)):
        return replace(_ended(row, base, head, checks, reviews), merged=True, landing=landing)
    if not head:
        return _ended(row, base, head, checks, reviews)
    try:
        return _of_open(mirror, source, base, row, head, checks, reviews, known)
    except AutomataError as error:
        # Anybody may push anything: what cannot be read or merged stands for itself, and hides no other proposal.
        return replace(_ended(row, base, head, checks, ()), trouble=error)


def _vet(mirror: Mirror, base: Base, row: ProposalRow, head: str) -> None:
    """Raise Refused for a branch that is not to be walked over; of one that is gone its last head may be here yet."""
    if head:
        vet_history(mirror, base.sha, head)
    if row.head_sha != head:
        with suppress(Missing):
            mirror.tree(row.head_sha)
            vet_history(mirror, base.sha, row.head_sha)


def _of_open(
    mirror: Mirror,
    source: Source,
    base: Base,
    row: ProposalRow,
    head: str,
    checks: Sequence[CheckRow],
    reviews: Sequence[ReviewRow],
    known: frozenset[str] | None,
) -> ProposalStatus:
    fork = fork_of(mirror, base, head)
    if fork == head:
        raise Conflict(f"{base.branch} holds all that the branch has.", code="nothing_to_merge")
    commits = brought(mirror, base.sha, head)
    if len(commits) >= MAX_COMMITS:
        raise Refused(f"It has {MAX_COMMITS:,} commits or more.", code="too_many_commits", hint="Squash them.")
    contributors = _contributors(mirror, commits, row)
    would_be = merge(mirror, base.sha, head)
    still_holds = _StillHolds(mirror, source, Binding(head, base.sha, would_be.tree, base.digest))
    newest = next((check for check in checks if still_holds(check.binding)), None)
    state: ChecksState = "pending"
    if newest:
        state = "passed" if newest.passed else "failed"
    elif checks:
        state = "stale"
    return ProposalStatus(
        row=row,
        base=base,
        head=head,
        merge=would_be,
        merged=False,
        behind=fork != base.sha,
        paths=changes_project(mirror, source, base, head),
        check=newest or (checks[0] if checks else None),
        checks=state,
        reviews=tuple(review for review in reviews if still_holds(review.binding)),
        writers=contributors,
        unknown=frozenset() if known is None else contributors - known,
    )


def _contributors(mirror: Mirror, commits: Sequence[str], row: ProposalRow) -> frozenset[str]:
    """The keys of all who contributed, once somebody has asked for a review: until then nobody may approve it."""
    if row.state != "PENDING_REVIEW":
        return frozenset()
    return writers(mirror, commits) | {key_of(row.author)} | maker_mails(row.makers)


def _ended(
    row: ProposalRow, base: Base, head: str, checks: Sequence[CheckRow], reviews: Sequence[ReviewRow]
) -> ProposalStatus:
    """What it was applied on, and for the rest what was said last."""
    check = next((check for check in checks if check.id == row.check_id), checks[0] if checks else None)
    state: ChecksState = "passed" if check and check.id == row.check_id and check.passed else "pending"
    counted = tuple(review for review in reviews if review.id in row.review_ids)
    return ProposalStatus(row, base, head, Merge(""), False, False, (), check, state, counted)


class _StillHolds:
    """Whether a check or a review of one binding holds for another."""

    def __init__(self, mirror: Mirror, source: Source, now: Binding) -> None:
        self.mirror = mirror
        self.source = source
        self.now = now
        self.known: dict[str, bool] = {}

    def __call__(self, then: Binding) -> bool:
        if then == self.now:
            return True
        if (then.head, then.policy) != (self.now.head, self.now.policy) or not self.now.tree or not then.tree:
            return False
        if then.base not in self.known:
            self.known[then.base] = self._unrelated(then.base)
        return self.known[then.base]

    def _unrelated(self, base: str) -> bool:
        """Whether what moved on the base since has nothing to do with the flows of the proposal."""
        if not contains(self.mirror, self.now.base, base):
            return False  # history was rewritten
        moved = self._changed(base, self.now.base)
        fork = self.mirror.merge_base(self.now.base, self.now.head)
        if fork is None:
            return False
        own = self._changed(fork, self.now.head)
        if not moved:
            return True
        try:
            sides = [_Side.read(self.mirror, self.source, sha) for sha in (self.now.base, self.now.head)]
        except AutomataError:
            return False  # what is not valid tells nothing about who calls whom
        config = (FILE, *(file for side in sides for file in side.files))
        if any(path.startswith((*SHARED, *config)) for path in moved) or any(path in config for path in own):
            return False
        return not moved & _related(sides, own)

    def _changed(self, before: str, after: str) -> set[str]:
        """The project's paths, from its folder."""
        prefix = f"{self.source.path}/" if self.source.path else ""
        changed = changed_paths(self.mirror, before, after)
        return {path.removeprefix(prefix) for path in changed if path.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class _Side:
    """Whom each flow calls, where flows are written, and the files of environments: of the base, and of the head."""

    calls: Mapping[str, set[str]]
    paths: Mapping[str, str]
    files: frozenset[str]

    @classmethod
    def read(cls, mirror: Mirror, source: Source, sha: str) -> _Side:
        tree = mirror.tree(sha, source.path)
        files = list_files(tree, source.environment)
        if sum(entry.size for entry in files.entries.values()) > MAX_COMPARED_BYTES:
            raise Refused("Its flows are too large to be compared.", code="too_large")
        flows = validate(tree, files).flows
        prefix = f"{source.path}/" if source.path else ""
        return cls(
            {flow.name: {name for name, _ in flow.calls} for flow in flows},
            {flow.name: flow.path.removeprefix(prefix) for flow in flows},
            frozenset(entry.file for entry in files.project.environments.values() if entry.file),
        )


def _related(sides: Sequence[_Side], own: set[str]) -> set[str]:
    """Files of the flows that the proposal changes, and of all that call them or are called by them, on either side."""
    names = {name for side in sides for name, path in side.paths.items() if path in own}
    edges = [(name, called) for side in sides for name, called in side.calls.items()]
    while (
        more := {
            other
            for name, called in edges
            for other in ({name} if called & names else set()) | (called if name in names else set())
        }
        - names
    ):
        names |= more
    return own | {side.paths[name] for side in sides for name in names if name in side.paths}
