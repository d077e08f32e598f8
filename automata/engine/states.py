"""The states of a run and of a task with the one transition table (docs/concepts.md draws it), and kinds of waiting."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunStatus(StrEnum):
    """The states of a run."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskStatus(StrEnum):
    """A waiting retry is QUEUED; a delay that waits and a parallel whose branches run are RUNNING."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class WaitKind(StrEnum):
    """What a row of the queue waits for that no worker may take; store/waiting_codec.py writes and reads each kind."""

    TIME = "time"
    APPROVAL = "approval"  # a person's decision
    CHILD_RUN = "flow"  # the end of a run that the step started
    SLOT = "slot"  # a place of the flow's `concurrency`; the whole run waits


RUN_FINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})
TASK_FINAL = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SKIPPED, TaskStatus.CANCELLED})

# None stands for "no row yet": a step that nothing has decided about.
TASK_TRANSITIONS: dict[TaskStatus | None, frozenset[TaskStatus]] = {
    None: frozenset(TaskStatus),
    TaskStatus.QUEUED: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.QUEUED, TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED}),
} | {final: frozenset() for final in TASK_FINAL}

RUN_TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING}) | RUN_FINAL,
    RunStatus.RUNNING: RUN_FINAL,
    RunStatus.SUCCEEDED: frozenset(),
    # A retry: what failed or was cancelled begins again, as if nothing had been decided about it yet.
    RunStatus.FAILED: frozenset({RunStatus.PENDING}),
    RunStatus.CANCELLED: frozenset({RunStatus.PENDING}),
}


class Trigger(StrEnum):
    """What started a run. Filters, help and docs list these, in this order."""

    API = "api"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    MANUAL = "manual"
    BACKFILL = "backfill"
    RERUN = "rerun"
    FLOW = "flow"


TRIGGER_WORDS = ", ".join(Trigger)
TRIGGER_MEANINGS: Mapping[Trigger, str] = {
    Trigger.API: "a request to the API, which is what `automata run start` and the console send too",
    Trigger.SCHEDULE: "a schedule of the flow, at its fire time",
    Trigger.WEBHOOK: "a delivery to a webhook of the flow",
    Trigger.MANUAL: "somebody who did not wait for a schedule (`automata schedule trigger`)",
    Trigger.BACKFILL: "`automata backfill`, for a fire time that had passed",
    Trigger.RERUN: "a rerun of another run, with its inputs",
    Trigger.FLOW: "a `flow` step of another run",
}
