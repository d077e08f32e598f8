"""Desired flows against stored ones: what a sync would do, and the guards that may say no. Pure."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from automata.errors import Conflict, Refused
from automata.git.names import shown
from automata.project.crosscheck import RepositoryFlow
from automata.project.manifest import Policy

ActionKind = Literal["create", "update", "rename", "unarchive", "archive", "unchanged", "kept"]
ACTION_KINDS: tuple[ActionKind, ...] = ("create", "update", "rename", "unarchive", "archive", "unchanged", "kept")
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Current:
    """One stored flow. `owner` is '' for this source, else who manages it (`the API`, or another source)."""

    name: str
    content_hash: str | None
    owner: str = ""
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to one flow; `previous` is its old name when it is renamed."""

    kind: ActionKind
    name: str
    path: str = ""
    previous: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """As reports and attempts keep it; what there is none of is None."""
        return {"action": self.kind, "flow": self.name, "path": self.path or None, "previous": self.previous}


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync does to each flow, in order; see `make_plan`."""

    actions: tuple[Action, ...]
    managed: int  # active flows of this source before

    @property
    def counts(self) -> dict[str, int]:
        """How many flows each kind of action has, zeros too."""
        counter = Counter(action.kind for action in self.actions)
        return {kind: counter[kind] for kind in ACTION_KINDS}

    @property
    def changes(self) -> tuple[Action, ...]:
        """The actions that write something."""
        return tuple(action for action in self.actions if action.kind not in ("unchanged", "kept"))

    @property
    def archives(self) -> list[str]:
        """The names of the flows that leave, sorted."""
        return sorted(action.name for action in self.actions if action.kind == "archive")


def make_plan(desired: Sequence[RepositoryFlow], current: Mapping[str, Current], policy: Policy) -> SyncPlan:
    """Order: by name, what leaves last. `desired` passed `cross_check`. Raises Conflict (code `name_taken`)."""
    by_name = {flow.name: flow for flow in desired}
    renames = _renames(by_name, current)
    _refuse_taken(by_name, current)
    actions = [_action(flow, current, renames) for flow in sorted(desired, key=lambda flow: flow.name)]
    gone = sorted(
        flow.name
        for flow in current.values()
        if not flow.owner and not flow.archived and flow.name not in by_name and flow.name not in renames.values()
    )
    leaving: ActionKind = "kept" if policy.prune == "never" else "archive"
    actions += [Action(leaving, name) for name in gone]
    managed = sum(not flow.owner and not flow.archived for flow in current.values())
    return SyncPlan(tuple(actions), managed)


def confirmation(sha: str, names: Iterable[str]) -> str:
    """The word that allows archiving exactly these flows at exactly this commit (16 hex digits)."""
    return hashlib.sha256("\n".join([sha, *sorted(names)]).encode()).hexdigest()[:16]


def guard(
    plan: SyncPlan, policy: Policy, sha: str, confirm: str | None, *, missing: Sequence[str] = (), empty: bool
) -> None:
    """Refuse (code `prune_blocked`) what looks like an accident, unless `confirm` names this commit and list.

    `missing` are flow folders that the tree lacks; `empty` says that it has no flow at all.
    """
    names = plan.archives
    if not names:
        return
    word = confirmation(sha, names)
    if confirm == word:
        return
    reason = _reason(plan, policy, missing, empty)
    if not reason and confirm is None:
        return
    if confirm is not None:
        reason = f"--confirm-deletes {shown(confirm)} was given for another commit or another list"
    raise Refused(
        f"{_plural(len(names))} would be archived ({_listed(names)}), but {reason}.",
        code="prune_blocked",
        hint=f"If this is meant: --confirm-deletes {word}",
        details={"flows": names, "confirm": word, "sha": sha},
    )


def _reason(plan: SyncPlan, policy: Policy, missing: Sequence[str], empty: bool) -> str:
    names = plan.archives
    if missing:
        return f"the folder {', '.join(map(shown, missing))} is missing"
    if empty:
        return "the repository has no flows left"
    if policy.prune == "confirm":
        return "this project wants that confirmed (sync.prune: confirm)"
    if policy.max_count is not None and len(names) > policy.max_count:
        return f"at most {policy.max_count} may leave at once (sync.max_delete.count)"
    if policy.max_percent is not None and len(names) > (limit := share(plan.managed, policy.max_percent)):
        share_of = f"{policy.max_percent:g} % of {plan.managed}"
        return f"at most {share_of} may leave at once, which is {limit} (sync.max_delete.percent)"
    return ""


def share(managed: int, percent: float) -> int:
    """How many of `managed` flows `percent` allows: rounded up, so that one flow may leave a small repository."""
    return math.ceil(managed * percent / 100)


def _renames(by_name: Mapping[str, RepositoryFlow], current: Mapping[str, Current]) -> dict[str, str]:
    """New name to old name, for flows that are new under this name and ours under the other."""
    return {
        flow.name: old
        for flow in by_name.values()
        if (old := flow.renamed_from) is not None
        and old in current
        and not current[old].owner
        and flow.name not in current
    }


def _refuse_taken(by_name: Mapping[str, RepositoryFlow], current: Mapping[str, Current]) -> None:
    taken = [flow for flow in current.values() if flow.owner and not flow.archived and flow.name in by_name]
    if not taken:
        return
    whose = "; ".join(f"{flow.name} is managed by {flow.owner}" for flow in taken[:_LISTED])
    raise Conflict(
        f"The name of {_plural(len(taken))} is taken: {whose}.",
        code="name_taken",
        hint="Rename the flow in the repository. A repository that moved: automata sync move --from OLD --to NEW."
        " One to try things with: another database, by AUTOMATA_DATA_DIR.",
        details={"flows": [flow.name for flow in taken]},
    )


def _action(flow: RepositoryFlow, current: Mapping[str, Current], renames: Mapping[str, str]) -> Action:
    if flow.name in renames:
        return Action("rename", flow.name, flow.path, renames[flow.name])
    stored = current.get(flow.name)
    if stored is None:
        return Action("create", flow.name, flow.path)
    if stored.archived:
        return Action("unarchive", flow.name, flow.path)
    same = stored.content_hash == flow.content_hash
    return Action("unchanged" if same else "update", flow.name, flow.path)


def _plural(number: int) -> str:
    return "1 flow" if number == 1 else f"{number} flows"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
