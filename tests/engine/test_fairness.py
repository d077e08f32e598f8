"""Head starts: whole for a flow that puts in little, none for a crowd, and back with time."""

from __future__ import annotations

import pytest

from automata.engine.fairness import HEAD_START_SEC, MAX_FLOWS, PACE_SEC, Shares

WHOLE = int(HEAD_START_SEC / PACE_SEC)


def test_a_crowd_uses_its_head_start_up_and_has_it_back_with_time() -> None:
    shares = Shares()
    given = [shares.head_start("a", 0) for _ in range(2 * WHOLE)]
    assert given[0] == HEAD_START_SEC
    assert given == sorted(given, reverse=True)
    assert given[WHOLE:] == [0] * WHOLE
    assert shares.head_start("a", 60) == 60 - PACE_SEC
    assert shares.head_start("a", 60 + 2 * HEAD_START_SEC) == HEAD_START_SEC


def test_what_one_flow_uses_up_costs_no_other() -> None:
    shares = Shares()
    for _ in range(2 * WHOLE):
        shares.head_start("a", 0)
    assert shares.head_start("b", 0) == HEAD_START_SEC


@pytest.mark.parametrize("every", [0.001, PACE_SEC, 2.0])
def test_work_of_one_flow_keeps_its_order(every: float) -> None:
    shares = Shares()
    due = [n * every - shares.head_start("a", n * every) for n in range(5000)]
    assert due == sorted(due)


def test_ever_new_flows_take_no_more_memory() -> None:
    shares = Shares()
    for number in range(2 * MAX_FLOWS):
        shares.head_start(number, 0)
    assert len(shares._last) == MAX_FLOWS
