"""What the column `reads` says: each kind comes back as it was written, and the bytes are those of earlier versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest

from automata.store.sql import with_fragments
from automata.store.waiting_codec import (
    ApprovalWait,
    ChildRunWait,
    SlotWait,
    TaskReads,
    Wait,
    decode_reads,
    decode_wait,
    encode,
    encode_array,
)

RUN = UUID("019b2f2e-7c1f-7000-8000-000000000001")

# As rows of earlier versions have them: a change here breaks rows that are under way during an upgrade.
WAITS: list[tuple[Wait, list[str]]] = [
    (ApprovalWait("Ship it?"), ["approval", "Ship it?"]),
    (ApprovalWait(""), ["approval", ""]),
    (ChildRunWait(RUN, for_end=True), ["flow", str(RUN), "wait"]),
    (ChildRunWait(RUN, for_end=False), ["flow", str(RUN), "nowait"]),
    (SlotWait("019b:key"), ["slot", "019b:key"]),
]
READS: list[tuple[TaskReads, list[str]]] = [
    (TaskReads(["fetch", "fan.x.a"]), ["fetch", "fan.x.a"]),
    (TaskReads([], (3, {"a": [1, None, "\x1f"]})), ["[]", '[3,{"a":[1,null,"\\u001f"]}]']),
    (TaskReads(["fetch"], (0, "x")), ["[]", '[0,"x"]', "fetch"]),
]


@pytest.mark.parametrize(("wait", "column"), WAITS)
def test_each_kind_of_waiting_has_the_bytes_of_earlier_versions_and_comes_back(wait: Wait, column: list[str]) -> None:
    assert encode_array(wait) == column
    assert decode_wait(column) == wait


@pytest.mark.parametrize(("reads", "column"), READS)
def test_what_a_task_reads_has_the_bytes_of_earlier_versions_and_comes_back(
    reads: TaskReads, column: list[str]
) -> None:
    assert encode_array(reads) == column
    assert decode_reads(column) == reads


def test_only_time_is_the_empty_text() -> None:
    assert encode(None) == encode(TaskReads()) == ""
    assert decode_wait([]) is None
    assert decode_reads([]) == TaskReads([])


@pytest.mark.parametrize("content", [content for content, _ in (*WAITS, *READS)])
def test_postgresql_takes_the_text_apart_into_the_same_parts(content: Wait | TaskReads, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        query = with_fragments("SELECT string_to_array(%s, ${READS_SEPARATOR})")
        assert conn.execute(query.encode(), [encode(content)]).fetchone() == (encode_array(content),)


def test_the_statements_find_approvals_and_their_prompts_and_nothing_else(database_url: str) -> None:
    query = with_fragments(
        "SELECT ${APPROVAL_PROMPT} FROM (SELECT %s::text[] AS reads) AS queue WHERE ${WAITS_FOR_APPROVAL}"
    )
    with psycopg.connect(database_url) as conn:
        found = [conn.execute(query.encode(), [column]).fetchone() for _, column in WAITS]
    assert found == [("Ship it?",), ("",), None, None, None]


@pytest.mark.parametrize("wait", [ApprovalWait("a\x1fb"), SlotWait("a\x1fb")])
def test_a_text_of_a_flow_with_the_separator_stays_one_part(wait: Any) -> None:
    assert encode_array(wait)[1:] == ["a b"]


@pytest.mark.parametrize(
    "reads", [["flow"], ["flow", "fetch"], ["flow", "fetch", "wait"], ["flow", str(RUN)], ["slot"]]
)
def test_what_a_completed_task_of_an_earlier_version_left_is_no_waiting(reads: Sequence[str]) -> None:
    assert decode_wait(reads) is None
