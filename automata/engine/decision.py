"""What the engine is told about a run and what it answers. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from automata.engine.states import RunStatus, TaskStatus


class _Unloaded:
    def __repr__(self) -> str:
        return "UNLOADED"


# Outputs that exist in the store and were not fetched; None is an output like any other.
UNLOADED: Final = _Unloaded()

Error = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepState:
    """Where one step stands. `since`: queued or started. `error` of a FAILED step: {code, message, step}."""

    status: TaskStatus
    since: datetime | None = None
    outputs: Any = UNLOADED
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """What templates and decisions may know of a run; `cancelled`: someone asked for its end."""

    id: str
    flow: str
    version: int
    attempt: int
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Mapping[str, Any]
    vars: Mapping[str, Any]
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    result: Any


@dataclass(frozen=True, slots=True)
class WaitUntil:
    until: datetime


class InstantRule(Protocol):
    """A step type that needs no worker. Both may raise Invalid: the step FAILED with its code."""

    def begin(self, config: Mapping[str, Any], now: datetime) -> Done | WaitUntil: ...

    def wake(self, since: datetime, now: datetime) -> Done: ...


@dataclass(frozen=True, slots=True)
class Start:
    """Queue this step for workers; `reads` are the steps whose task rows its templates need."""

    step: str
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timer:
    """Wake this run with the step in `fired` when `until` has come."""

    step: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """A final state that nobody but the engine decided. `since` is None for what never began."""

    step: str
    status: TaskStatus
    outputs: Any = None
    error: Error | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    status: RunStatus
    outputs: Any = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer. `needs` and `drop` come alone, and ask to be asked again in the same transaction.

    needs: SUCCEEDED steps whose outputs must be put into the states first.
    drop: work and timers to take back. What could be taken back is CANCELLED, what was claimed meanwhile RUNNING.
    """

    needs: frozenset[str] = frozenset()
    start: tuple[Start, ...] = ()
    wait: tuple[Timer, ...] = ()
    settle: tuple[Settled, ...] = ()
    drop: tuple[str, ...] = ()
    result: RunResult | None = None
