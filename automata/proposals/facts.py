"""What is so about a proposal now: its commits, the merge they would make, and what was said of exactly that.

Checks and approvals are bound to head, base, merge tree and policy. A push makes another head, so both fall away. A
base that moved makes another tree; what was said still holds when nothing moved there that the proposal has to do with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from automata.errors import Missing
from automata.flow.model import canonical_json
from automata.git.branches import Merge, changed_paths, contains, merge
from automata.git.mirror import Mirror
from automata.store.proposals import Binding, CheckRow, ProposalRow, ReviewRow
from automata.sync.desired import list_files, validate
from automata.sync.project import read_project
from automata.sync.source import Source, choose_branch

Checks = Literal["pending", "passed", "failed", "stale"]
State = Literal["DRAFT", "PENDING_REVIEW", "APPROVED", "APPLIED", "REJECTED", "CLOSED"]
# What decides over flows without being one: whatever moves here has to do with every proposal.
SHARED = ("automata.yaml", "environments/", "tests/")


@dataclass(frozen=True, slots=True)
class Base:
    """The branch that an environment follows, and the policy that holds for what shall be merged into it."""

    branch: str
    sha: str
    policy: Mapping[str, Any]
    digest: str
    others: frozenset[str]  # branches of environments: none of them is a proposal

    @property
    def approvals(self) -> int:
        return int(self.policy.get("approvals", 0))


@dataclass(frozen=True, slots=True)
class Facts:
    """`head` "": the branch is gone. `merged`: the base holds it. `behind`: the base moved since it branched off."""

    row: ProposalRow
    base: Base
    head: str
    merge: Merge
    merged: bool
    behind: bool
    paths: tuple[str, ...]
    check: CheckRow | None
    checks: Checks
    reviews: tuple[ReviewRow, ...]

    @property
    def binding(self) -> Binding:
        return Binding(self.head, self.base.sha, self.merge.tree, self.base.digest)

    @property
    def approvals(self) -> list[ReviewRow]:
        """Everybody counts once, by the last word, and the author not at all."""
        last = {review.by: review for review in reversed(self.reviews)}
        return [last[by] for by in sorted(last) if last[by].approved]

    @property
    def approvers(self) -> list[str]:
        return [review.by for review in self.approvals]

    @property
    def state(self) -> State:
        if self.row.state == "PENDING_REVIEW" and len(self.approvers) >= self.base.approvals and self.ready:
            return "APPROVED"
        return self.row.state

    @property
    def ready(self) -> bool:
        return bool(self.head) and not self.merge.conflicts and self.checks == "passed"

    @property
    def conditions(self) -> list[str]:
        """As people read them: `checks: passed`, `conflicted: flows/a.yaml`, `behind`."""
        told = [f"checks: {self.checks}"]
        told += [f"conflicted: {', '.join(self.merge.conflicts)}"] if self.merge.conflicts else []
        told += ["behind"] if self.behind else []
        return told if self.head else ["the branch is gone"]


def find_base(mirror: Mirror, source: Source) -> Base:
    """Raises Missing when the environment's branch is gone."""
    from automata.sync.reconcile import stages_of

    branch = choose_branch(mirror, source, stages_of)
    sha = mirror.resolve(branch)
    tree = mirror.tree(sha, source.path)
    project = read_project(tree)[0]
    told = [dict(project.checks), list(project.masked), project.policy.prune]
    digest = hashlib.sha256(canonical_json(told).encode()).hexdigest()
    stages = {name for name in stages_of(tree).values() if name}
    return Base(branch, sha, project.checks, digest, frozenset({branch, *stages}))


def changes_project(mirror: Mirror, source: Source, base: Base, head: str) -> tuple[str, ...]:
    """The project's paths that a branch changes since it left the base."""
    fork = mirror.merge_base(base.sha, head)
    if fork is None or fork == head:
        return ()
    prefix = f"{source.path}/" if source.path else ""
    return tuple(sorted(path for path in changed_paths(mirror, fork, head) if path.startswith(prefix)))


def find_facts(
    mirror: Mirror,
    source: Source,
    base: Base,
    row: ProposalRow,
    checks: Sequence[CheckRow],
    reviews: Sequence[ReviewRow],
) -> Facts:
    """`checks` and `reviews` newest first, as the store lists them."""
    try:
        head = mirror.resolve(row.branch)
    except Missing:
        head = ""
    if row.ended_at is not None or not head:
        return _ended(row, base, head, checks, reviews)
    merged = contains(mirror, base.sha, head)
    made = merge(mirror, base.sha, head)
    bound = Binding(head, base.sha, made.tree, base.digest)
    holding = _Holding(mirror, source, bound)
    newest = next((one for one in checks if holding(one.binding)), None)
    state: Checks = "pending"
    if newest:
        state = "passed" if newest.passed else "failed"
    elif checks:
        state = "stale"
    return Facts(
        row=row,
        base=base,
        head=head,
        merge=made,
        merged=merged,
        behind=mirror.merge_base(base.sha, head) != base.sha,
        paths=changes_project(mirror, source, base, head),
        check=newest or (checks[0] if checks else None),
        checks=state,
        reviews=tuple(one for one in reviews if holding(one.binding)),
    )


def _ended(row: ProposalRow, base: Base, head: str, checks: Sequence[CheckRow], reviews: Sequence[ReviewRow]) -> Facts:
    """What it was applied on, and for the rest what was said last."""
    check = next((one for one in checks if one.id == row.check_id), checks[0] if checks else None)
    state: Checks = "passed" if check and check.id == row.check_id and check.passed else "pending"
    counted = tuple(one for one in reviews if one.id in row.review_ids)
    return Facts(row, base, head, Merge(""), False, False, (), check, state, counted)


class _Holding:
    """Whether what was said of one binding holds for another."""

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
        prefix = f"{self.source.path}/" if self.source.path else ""
        moved = {
            path.removeprefix(prefix)
            for path in changed_paths(self.mirror, base, self.now.base)
            if path.startswith(prefix)
        }
        if any(path.startswith(SHARED) for path in moved):
            return False
        return not moved & self._related(prefix)

    def _related(self, prefix: str) -> set[str]:
        """Files of the flows that the proposal changes, and of all that call them or are called by them."""
        now = self.now
        fork = self.mirror.merge_base(now.base, now.head) or now.base
        own = {path for path in changed_paths(self.mirror, fork, now.head) if path.startswith(prefix)}
        calls, paths = self._calls()
        names = {name for name, path in paths.items() if path in own}
        while (
            more := {
                other
                for name, called in calls.items()
                for other in ({name} if called & names else set()) | (called if name in names else set())
            }
            - names
        ):
            names |= more
        found = own | {paths[name] for name in names if name in paths}
        return {path.removeprefix(prefix) for path in found}

    def _calls(self) -> tuple[dict[str, set[str]], dict[str, str]]:
        """Of the base as it is now: whom each flow calls, and where it is written."""
        tree = self.mirror.tree(self.now.base, self.source.path)
        files = list_files(tree, self.source.environment)
        wanted = validate(tree, files)
        calls = {flow.name: {name for name, _ in flow.calls} for flow in wanted.flows}
        return calls, {flow.name: flow.path for flow in wanted.flows}
