"""What can be said about a source now, computed from its row and its attempts: nothing here is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from automata.git.names import short_sha
from automata.store.sync import AttemptRow, SourceRow
from automata.sync.steps import STEPS

Type = Literal["Fetched", "Validated", "Synced", "Drifted", "PruneBlocked", "Stalled"]
Truth = Literal["True", "False", "Unknown"]

_NUMBERS = {name: number for number, name in enumerate(STEPS)}
_READS = _NUMBERS["read"]
_VALIDATES = _NUMBERS["validate"]
_END = len(STEPS)
_FAILED = ("failed", "refused")
_LISTED = 5
PASSES_WITHIN = timedelta(days=1)  # what may pass, and has not for so long, needs somebody who looks


@dataclass(frozen=True, slots=True)
class Condition:
    """`reason` is one word for programs, `message` one sentence for people; `sha` and `time` are of the attempt."""

    type: Type
    status: Truth
    reason: str
    message: str
    sha: str | None
    time: datetime | None

    def to_json(self) -> dict[str, Any]:
        """As the API answers with it; `time` is an RFC 3339 instant."""
        return {**asdict(self), "time": self.time.isoformat() if self.time else None}


def conditions(source: SourceRow, attempts: Sequence[AttemptRow]) -> list[Condition]:
    """All of them, in the order of `Type`; `attempts` newest first, as `list_attempts` gives them."""
    # A drift that was healed and a rollback say nothing about the repository.
    tried = [attempt for attempt in attempts if attempt.status not in ("healed", "rolled_back")]
    latest = tried[0] if tried else None
    examined = next((attempt for attempt in tried if _reached(attempt) >= _READS), None)
    return [
        _condition("Fetched", latest, lambda reached: reached >= _READS),
        _condition("Validated", examined, lambda reached: reached > _VALIDATES),
        _pinned(source) if source.pinned_at else _condition("Synced", latest, lambda reached: reached == _END),
        _drifted(source),
        _prune_blocked(latest),
        _stalled(source, latest),
    ]


def _condition(kind: Type, attempt: AttemptRow | None, holds: Callable[[int], bool]) -> Condition:
    if attempt is None:
        return _untried(kind)
    if holds(_reached(attempt)):
        message = f"The commit was {kind.lower()}."
        return Condition(kind, "True", "Succeeded", message, attempt.sha, attempt.finished_at)
    return _told(kind, "False", attempt)


def _pinned(source: SourceRow) -> Condition:
    message = (
        f"Pinned to {short_sha(source.head_sha or '')} by {source.pinned_by}: {source.pinned_reason}."
        f" `automata sync release --source {source.id}` lets it follow its branch again."
    )
    return Condition("Synced", "False", "Pinned", message, source.head_sha, source.pinned_at)


def _drifted(source: SourceRow) -> Condition:
    if source.drift is None:
        return Condition("Drifted", "Unknown", "NotLooked", "It was not looked at yet.", None, None)
    count, listed = source.drift["count"], [flow["message"] for flow in source.drift["flows"][:_LISTED]]
    if not count:
        message = "The database is as the commit says."
        return Condition("Drifted", "False", "NoDrift", message, source.head_sha, source.drift_at)
    more = f"; and {count - len(listed)} more" if count > len(listed) else ""
    message = f"{'; '.join(listed)}{more}."
    return Condition("Drifted", "True", "ChangedBesideGit", message, source.head_sha, source.drift_at)


def _prune_blocked(latest: AttemptRow | None) -> Condition:
    if latest is None:
        return _untried("PruneBlocked")
    if latest.status == "refused" and _error(latest).get("code") == "prune_blocked":
        return _told("PruneBlocked", "True", latest)
    return Condition("PruneBlocked", "False", "NotBlocked", "", latest.sha, latest.finished_at)


def _stalled(source: SourceRow, latest: AttemptRow | None) -> Condition:
    if latest is None:
        return _untried("Stalled")
    if latest.status in _FAILED and not _error(latest).get("transient"):
        return _told("Stalled", "True", latest)
    if latest.status in _FAILED and source.synced_at and latest.finished_at - source.synced_at >= PASSES_WITHIN:
        stalled = _told("Stalled", "True", latest)
        return replace(
            stalled, message=f"{stalled.message} It has been so since {source.synced_at:%Y-%m-%d %H:%M} UTC."
        )
    return Condition("Stalled", "False", "Following", "", latest.sha, latest.finished_at)


def _untried(kind: Type) -> Condition:
    return Condition(kind, "Unknown", "NoAttempt", "It was not tried yet.", None, None)


def _told(kind: Type, status: Truth, attempt: AttemptRow) -> Condition:
    """What went wrong, in the words of the attempt."""
    error = _error(attempt)
    reason = "".join(part.capitalize() for part in str(error.get("code", "failed")).split("_"))
    message = " ".join(str(error[part]) for part in ("message", "hint") if error.get(part))
    return Condition(kind, status, reason, message, attempt.sha, attempt.finished_at)


def _reached(attempt: AttemptRow) -> int:
    """The number of the step at which an attempt ended; past the last one when it went through."""
    if attempt.status not in _FAILED:
        return _END
    return _NUMBERS.get(str(_error(attempt).get("step")), 0)


def _error(attempt: AttemptRow) -> dict[str, Any]:
    return attempt.error or {}
