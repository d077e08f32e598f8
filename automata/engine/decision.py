"""What the engine is told about a run and what it answers. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from automata.engine.states import RunStatus, TaskStatus, WaitKind


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


# Values, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class RunView:
    """What templates and decisions may know of a run; `cancelled`: someone asked for its end.

    `resumed`: failed steps that a person had tried again, alone among the failures of the run: what else has failed
    keeps them from nothing.
    """

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
    resumed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Done:
    """The step is over; `result` is what its outputs are made of."""

    result: Any


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """`kind`: what may end the wait before `until`; `note` is shown to people, such as the prompt of an approval."""

    until: datetime
    kind: WaitKind = WaitKind.TIME
    note: str = ""


# The end of a wait that only an event ends: the latest moment that both Python and PostgreSQL can name.
FOREVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """Run another flow. What it answers arrives at `wake`; with `wait` False, as soon as the run is written."""

    flow: str
    inputs: Mapping[str, Any]
    wait: bool = True


# The codes of a step whose run did not succeed.
CHILD_FAILED: Final = "child_failed"
CHILD_CANCELLED: Final = "child_cancelled"


class InstantRule(Protocol):
    """A step type that needs no worker. Both may raise Invalid: the step FAILED with its code.

    `arrived` is what ended the wait, None when only its time was over; the shape is the type's own.
    """

    def begin(self, config: Mapping[str, Any], now: datetime) -> Done | WaitUntil | Call: ...

    def wake(self, since: datetime, now: datetime, arrived: Any = None) -> Done | WaitUntil: ...


@dataclass(slots=True)
class Start:
    """Queue this step for workers; `reads` are the steps whose task rows its templates need.

    `item`: (index, value) for a step of a `foreach`, whose name ends in the index.
    """

    step: str
    reads: tuple[str, ...] = ()
    item: tuple[int, Any] | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """Wake this run with the step in `fired` when `until` has come."""

    step: str
    until: datetime
    kind: WaitKind = WaitKind.TIME
    note: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """Write a run of `call.flow` for this step; its end, or with `wait` False its beginning, fires the step."""

    step: str
    call: Call


@dataclass(slots=True)
class Settled:
    """A final state that nobody but the engine decided. `since` is None for what never began."""

    step: str
    status: TaskStatus
    outputs: Any = None
    error: Error | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How the run ended. `error` of a FAILED one: {code, message, step}."""

    status: RunStatus
    outputs: Any = None
    error: Error | None = None


@dataclass(slots=True)
class Decision:
    """One answer. `needs` with `asks`, and `drop`, come alone, and ask to be asked again in the same transaction.

    needs: SUCCEEDED steps whose outputs must be put into the states first.
    asks: whether these runs could be written, as `answers` of the next call: None, or the error of the step.
    drop: work and timers to take back. What could be taken back is CANCELLED, what was claimed meanwhile RUNNING.
    """

    needs: frozenset[str] = frozenset()
    asks: tuple[Child, ...] = ()
    start: tuple[Start, ...] = ()
    wait: tuple[Timer, ...] = ()
    call: tuple[Child, ...] = ()
    settle: tuple[Settled, ...] = ()
    drop: tuple[str, ...] = ()
    result: RunResult | None = None
