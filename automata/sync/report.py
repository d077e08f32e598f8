"""What one sync did or would do, for people and programs; and how an attempt is kept in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from automata.errors import AutomataError, Diagnostic, Unavailable
from automata.git.names import short_sha
from automata.sync.plan import Action, SyncPlan

# What is kept of one attempt: enough to see what happened, not a second copy of a large commit.
KEPT_ACTIONS = 200
KEPT_FINDINGS = 100

_CHANGES = ("create", "update", "rename", "unarchive", "archive")
_VERBS = {
    "create": "created",
    "update": "updated",
    "rename": "renamed",
    "unarchive": "unarchived",
    "archive": "archived",
    "unchanged": "unchanged",
    "kept": "kept though gone from the repository",
}


SyncStatus = Literal["synced", "unchanged", "planned"]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """`sha` is the full commit, `<sha>-dirty` or `working-tree`; `diagnostics` are warnings, errors are raised.

    `status` is `planned` for a dry run. `plan` is None when nothing had to be read, because nothing moved.
    """

    status: SyncStatus
    sha: str
    source: str
    branch: str
    environment: str
    plan: SyncPlan | None = None
    diagnostics: Sequence[Diagnostic] = ()
    rewritten: bool = False
    duration_ms: int = 0

    @property
    def actions(self) -> tuple[Action, ...]:
        """What happens to each flow; empty when nothing had to be read."""
        return self.plan.actions if self.plan else ()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many flows each kind of action has, in the order of ACTION_KINDS."""
        return self.plan.counts if self.plan else {}

    def summary(self) -> str:
        """One sentence, such as `0123456789ab of main: 2 created, 1 updated, 17 unchanged`."""
        ahead = self.status == "planned"
        done = [
            f"{number} to {kind}" if ahead and kind in _CHANGES else f"{number} {_VERBS[kind]}"
            for kind, number in self.counts.items()
            if number
        ]
        text = ", ".join(done) if done else ("nothing changed" if self.plan is None else "no flows")
        return f"{short_sha(self.sha)} of {self.branch}: {text}"

    def to_json(self) -> dict[str, Any]:
        """The report as the CLI and the API answer with it."""
        return {
            "status": self.status,
            "sha": self.sha,
            "source": self.source,
            "branch": self.branch,
            "environment": self.environment,
            "counts": dict(self.counts),
            "actions": [action.to_json() for action in self.actions],
            "diagnostics": [asdict(item) for item in self.diagnostics],
            "rewritten": self.rewritten,
            "duration_ms": self.duration_ms,
        }


def plan_record(plan: SyncPlan) -> dict[str, Any]:
    """The `plan` of an attempt: what changed, not what stayed."""
    changes = plan.changes
    return {
        "counts": plan.counts,
        "actions": [action.to_json() for action in changes[:KEPT_ACTIONS]],
        "omitted": max(0, len(changes) - KEPT_ACTIONS),
    }


def attempt_summary(attempt: Mapping[str, Any]) -> str:
    """What came of an attempt, from its `status`, `plan` and `error`, in one line; empty when nothing did."""
    error, plan = attempt["error"], attempt["plan"]
    if error:
        return str(error["message"])
    if not plan:
        return ""
    if attempt["status"] == "rolled_back":
        return f"{plan['count']} flows, by {plan['by']}: {plan['reason']}"
    if attempt["status"] == "healed":
        return "; ".join(flow["message"] for flow in plan["flows"][:3])
    return ", ".join(f"{number} {kind}" for kind, number in plan["counts"].items() if number)


def broke_off(error: Exception) -> AutomataError:
    """The error for a fault of ours, in the words of its kind alone: a text may hold what is nobody's business."""
    return AutomataError(
        f"The sync broke off with {type(error).__name__}: this is a fault of Automata.",
        code="internal",
        hint="Please report it with the log. Another commit, or a look that is asked for, tries again.",
    )


def error_record(error: Exception, step: str) -> dict[str, Any]:
    """The `error` of an attempt. `transient` says that trying again may help; else a new commit is needed."""
    if not isinstance(error, AutomataError):
        error = broke_off(error)
    return {
        "step": step,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "transient": isinstance(error, Unavailable),
        "diagnostics": [asdict(item) for item in error.diagnostics[:KEPT_FINDINGS]],
    }
