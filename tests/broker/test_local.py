"""Notifications inside one process, and what a listener acknowledges."""

from __future__ import annotations

import pytest

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_READY, tasks_ready
from automata.broker.local import MAX_HINTS, LocalBroker


@pytest.fixture
def broker() -> LocalBroker:
    return LocalBroker()


async def test_a_ring_before_the_wait_is_heard_and_rings_in_between_are_merged(broker: LocalBroker) -> None:
    with broker.listen(RUNS_PENDING, TASKS_READY) as listener:
        broker.notify(RUNS_PENDING, ["a", "b"])
        broker.notify(TASKS_READY, ["b", "c"])
        assert await listener.wait(120)
        assert list(listener.ids) == ["a", "b", "c"]
        assert not await listener.wait(0.01)


async def test_done_acknowledges_what_came_before_the_look_and_not_what_came_during_it(broker: LocalBroker) -> None:
    answers: list[tuple[str, bool]] = []

    with broker.listen(RUNS_PENDING) as listener:
        broker.deliver(RUNS_PENDING, ["before"], lambda committed: answers.append(("before", committed)))
        assert await listener.wait(120)
        broker.deliver(RUNS_PENDING, ["during"], lambda committed: answers.append(("during", committed)))
        assert answers == []
        listener.done()
        assert answers == [("before", True)]
        assert list(listener.ids) == ["during"]
        assert await listener.wait(120), "what came during the look must start the next one at once"
        listener.done()
    assert answers == [("before", True), ("during", True)]


async def test_a_listener_that_leaves_gives_back_what_it_has_not_acknowledged(broker: LocalBroker) -> None:
    answers: list[bool] = []

    with broker.listen(RUNS_PENDING) as listener:
        broker.deliver(RUNS_PENDING, [], answers.append)
        assert await listener.wait(120)
        broker.deliver(RUNS_PENDING, [], answers.append)
    assert answers == [False, False]
    broker.deliver(RUNS_PENDING, [], answers.append)
    assert answers == [False, False, False], "nobody hears it here"


async def test_of_several_listeners_one_that_commits_is_enough(broker: LocalBroker) -> None:
    answers: list[bool] = []

    with broker.listen(RUNS_PENDING) as first, broker.listen(RUNS_PENDING) as second:
        broker.deliver(RUNS_PENDING, [], answers.append)
        first.close()
        assert answers == []
        await second.wait(5)
        second.done()
        assert answers == [True]


@pytest.mark.parametrize(("notified", "found", "reported"), [(False, True, 1), (False, False, 0), (True, True, 0)])
async def test_work_found_after_a_silent_wait_is_reported_as_unannounced(
    notified: bool, found: bool, reported: int
) -> None:
    reports: list[object] = []
    broker = LocalBroker(reports.append)
    with broker.listen(RUNS_PENDING) as listener:
        listener.done(found=True)  # the first look follows no wait: work that was there already
        if notified:
            broker.notify(RUNS_PENDING)
        await listener.wait(0.01)
        listener.done(found=found)
        listener.done(found=True)  # the same burst of work goes on; one silence is one report
    assert reports == [(RUNS_PENDING,)] * reported


async def test_a_named_listener_hears_its_own_id_only(broker: LocalBroker) -> None:
    with broker.listen(RUNS_FINISHED, id="mine") as listener:
        broker.notify(RUNS_FINISHED, ["other"])
        assert not await listener.wait(0.01)
        broker.notify(RUNS_FINISHED, ["other", "mine"])
        assert await listener.wait(120)


async def test_hints_are_bounded_and_rings_beyond_them_are_still_heard(broker: LocalBroker) -> None:
    with broker.listen(RUNS_PENDING) as listener:
        for n in range(MAX_HINTS + 10):
            broker.notify(RUNS_PENDING, [str(n)])
        assert await listener.wait(120)
        assert len(listener.ids) == MAX_HINTS


def test_each_lane_has_its_own_topic_and_the_default_lane_the_plain_one() -> None:
    assert tasks_ready("default") == TASKS_READY
    assert tasks_ready("gpu") == "tasks.ready.gpu"
