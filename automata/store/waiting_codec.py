"""What a row of `task_queue` says in its column `reads`, read and written here alone.

The column has the meaning of its row. In a worker's lane it holds the names of the steps that the task's templates
read; an item of a `foreach` puts ITEM and `[index, value]` as JSON before them. In the orchestrator's lane it holds a
kind of waiting and what belongs to it; it is empty where only time must pass. Rows outlive the process that wrote
them, and processes of two versions share one queue during an upgrade: what is here may be added to, never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from automata.engine.states import WaitKind
from automata.store.ids import as_uuid
from automata.store.json_codec import dumps

ITEM = "[]"
_SEPARATOR = "\x1f"  # between the parts on their way into an array: no name has it, and JSON escapes it

# For statements that look for waiting rows. `reads` is a column of the queue alone, so it needs no table's name.
SQL_FRAGMENTS: dict[str, LiteralString] = {
    "READS_SEPARATOR": "E'\\x1f'",
    "WAITS_FOR_APPROVAL": "reads[1] = 'approval'",
    "APPROVAL_PROMPT": "reads[2]",
}


class TaskReads(NamedTuple):
    """What a worker needs besides the run: steps whose outputs templates read, and the (index, value) of an item."""

    steps: Sequence[str] = ()
    item: tuple[int, Any] | None = None


class ApprovalWait(NamedTuple):
    """A person is asked `prompt`."""

    prompt: str


class ChildRunWait(NamedTuple):
    """The step started `run_id`; `for_end` False: it goes on as soon as that run is written."""

    run_id: UUID
    for_end: bool


class SlotWait(NamedTuple):
    """The run waits for a place of `slot`."""

    slot: str


Wait = ApprovalWait | ChildRunWait | SlotWait


def encode(content: TaskReads | Wait | None) -> str:
    """The parts as one text, as the statements that enqueue take it; None (only time must pass) is the empty text."""
    match content:
        case None:
            return ""
        case TaskReads(steps, None):
            return _SEPARATOR.join(steps)
        case TaskReads(steps, item):
            return _SEPARATOR.join((ITEM, dumps(item), *steps))
        case ChildRunWait(run_id, for_end):
            return _SEPARATOR.join((WaitKind.CHILD_RUN, str(run_id), "wait" if for_end else "nowait"))
        case ApprovalWait(text):
            return _of_text(WaitKind.APPROVAL, text)
        case SlotWait(text):
            return _of_text(WaitKind.SLOT, text)


def _of_text(kind: WaitKind, text: str) -> str:
    """Flows write these texts, so they may have the separator in them."""
    return _SEPARATOR.join((kind, text.replace(_SEPARATOR, " ")))


def encode_array(content: TaskReads | Wait) -> list[str]:
    """The parts as the column has them, to compare with."""
    return encode(content).split(_SEPARATOR)


def decode_reads(parts: Sequence[str]) -> TaskReads:
    """Of a row in a worker's lane."""
    if not parts or parts[0] != ITEM:
        return TaskReads(parts)
    index, value = json.loads(parts[1])
    return TaskReads(parts[2:], (index, value))


def decode_wait(parts: Sequence[str]) -> Wait | None:
    """Of a row in the orchestrator's lane; None where it waits for nothing but time.

    An earlier version left there what a completed task had read, and a step may be called `flow` or `approval`.
    """
    match parts:
        case [WaitKind.APPROVAL, prompt, *_]:
            return ApprovalWait(prompt)
        case [WaitKind.CHILD_RUN, run_id, "wait" | "nowait" as end] if id := as_uuid(run_id):
            return ChildRunWait(id, end == "wait")
        case [WaitKind.SLOT, slot, *_]:
            return SlotWait(slot)
        case _:
            return None
