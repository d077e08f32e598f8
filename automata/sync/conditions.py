"""What can be said about a source now, computed from its attempts: nothing here is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from automata.store.sync import AttemptRow
from automata.sync.reconcile import STEPS

Type = Literal["Fetched", "Validated", "Synced"]
Truth = Literal["True", "False", "Unknown"]

_READS = STEPS.index("read")
_VALIDATES = STEPS.index("validate")
_END = len(STEPS)


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
        return {**asdict(self), "time": self.time.isoformat() if self.time else None}


def conditions(attempts: Sequence[AttemptRow]) -> list[Condition]:
    """`Fetched`, `Validated`, `Synced` of a source; `attempts` newest first, as `list_attempts` gives them."""
    latest = attempts[0] if attempts else None
    examined = next((attempt for attempt in attempts if _reached(attempt) >= _READS), None)
    return [
        _condition("Fetched", latest, lambda reached: reached >= _READS),
        _condition("Validated", examined, lambda reached: reached > _VALIDATES),
        _condition("Synced", latest, lambda reached: reached == _END),
    ]


def _condition(kind: Type, attempt: AttemptRow | None, holds: Callable[[int], bool]) -> Condition:
    if attempt is None:
        return Condition(kind, "Unknown", "NoAttempt", "It was not tried yet.", None, None)
    if holds(_reached(attempt)):
        message = f"The commit was {kind.lower()}."
        return Condition(kind, "True", "Succeeded", message, attempt.sha, attempt.finished_at)
    error = attempt.error or {}
    reason = "".join(part.capitalize() for part in str(error.get("code", "failed")).split("_"))
    return Condition(kind, "False", reason, str(error.get("message", "")), attempt.sha, attempt.finished_at)


def _reached(attempt: AttemptRow) -> int:
    """The number of the step at which an attempt ended; past the last one when it went through."""
    if attempt.status in ("synced", "unchanged"):
        return _END
    step = (attempt.error or {}).get("step")
    return STEPS.index(step) if step in STEPS else 0
