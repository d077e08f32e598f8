"""The bell inside one process, and what a listener owes for what it heard."""

from __future__ import annotations

import pytest

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_READY, tasks_ready
from automata.broker.local import MAX_HINTS, LocalBroker


@pytest.fixture
def broker() -> LocalBroker:
    return LocalBroker()


async def test_a_ring_before_the_wait_is_heard_and_rings_in_between_are_merged(broker: LocalBroker) -> None:
    with broker.listen(RUNS_PENDING, TASKS_READY) as bell:
        broker.ring(RUNS_PENDING, ["a", "b"])
        broker.ring(TASKS_READY, ["b", "c"])
        assert await bell.wait(5)
        assert list(bell.ids) == ["a", "b", "c"]
        assert not await bell.wait(0.01)


async def test_done_answers_for_what_rang_before_the_look_and_not_for_what_rang_during_it(broker: LocalBroker) -> None:
    answers: list[tuple[str, bool]] = []

    with broker.listen(RUNS_PENDING) as bell:
        broker.hand(RUNS_PENDING, ["before"], lambda committed: answers.append(("before", committed)))
        assert await bell.wait(5)
        broker.hand(RUNS_PENDING, ["during"], lambda committed: answers.append(("during", committed)))
        assert answers == []
        bell.done()
        assert answers == [("before", True)]
        assert list(bell.ids) == ["during"]
        assert await bell.wait(5), "what rang during the look must start the next one at once"
        bell.done()
    assert answers == [("before", True), ("during", True)]


async def test_a_listener_that_leaves_gives_back_what_it_has_not_answered(broker: LocalBroker) -> None:
    answers: list[bool] = []

    with broker.listen(RUNS_PENDING) as bell:
        broker.hand(RUNS_PENDING, [], answers.append)
        assert await bell.wait(5)
        broker.hand(RUNS_PENDING, [], answers.append)
    assert answers == [False, False]
    broker.hand(RUNS_PENDING, [], answers.append)
    assert answers == [False, False, False], "nobody hears it here"


async def test_of_several_listeners_one_that_commits_is_enough(broker: LocalBroker) -> None:
    answers: list[bool] = []

    with broker.listen(RUNS_PENDING) as first, broker.listen(RUNS_PENDING) as second:
        broker.hand(RUNS_PENDING, [], answers.append)
        first.close()
        assert answers == []
        await second.wait(5)
        second.done()
        assert answers == [True]


@pytest.mark.parametrize(("rings", "found", "told"), [(False, True, 1), (False, False, 0), (True, True, 0)])
async def test_work_found_after_a_silent_wait_is_reported_as_unannounced(rings: bool, found: bool, told: int) -> None:
    reports: list[object] = []
    broker = LocalBroker(reports.append)
    with broker.listen(RUNS_PENDING) as bell:
        bell.done(found=True)  # the first look follows no wait: work that was there already
        if rings:
            broker.ring(RUNS_PENDING)
        await bell.wait(0.01)
        bell.done(found=found)
        bell.done(found=True)  # the same burst of work goes on; one silence is one report
    assert reports == [(RUNS_PENDING,)] * told


async def test_a_named_listener_hears_its_own_id_only(broker: LocalBroker) -> None:
    with broker.listen(RUNS_FINISHED, id="mine") as bell:
        broker.ring(RUNS_FINISHED, ["other"])
        assert not await bell.wait(0.01)
        broker.ring(RUNS_FINISHED, ["other", "mine"])
        assert await bell.wait(5)


async def test_hints_are_bounded_and_rings_beyond_them_are_still_heard(broker: LocalBroker) -> None:
    with broker.listen(RUNS_PENDING) as bell:
        for n in range(MAX_HINTS + 10):
            broker.ring(RUNS_PENDING, [str(n)])
        assert await bell.wait(5)
        assert len(bell.ids) == MAX_HINTS


def test_each_lane_has_its_own_topic_and_the_default_lane_the_plain_one() -> None:
    assert tasks_ready("default") == TASKS_READY
    assert tasks_ready("gpu") == "tasks.ready.gpu"
