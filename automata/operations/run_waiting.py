"""Waiting for the end of a run.

Failure argument. A notification may be lost: whoever waits looks again every POLL_SEC. Listening begins before the
first look, so that an end between the two is heard. A server that stops answers with what is true so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from automata.broker.contract import RUNS_FINISHED, Listener
from automata.engine.states import RUN_FINAL
from automata.errors import Busy
from automata.operations.context import AppContext
from automata.operations.runs import RunDetail, StartedRun, run_detail
from automata.store.ids import new_id
from automata.store.runs import RunRow, get_run

POLL_SEC = 1.0  # what a notification that was lost costs a watcher
MAX_WATCHERS = 500  # each asks the database once a second


async def wait_for_run(context: AppContext, id: UUID, wait_sec: float) -> RunDetail:
    """The run when it is finished, the time is up, or the server stops. Raises Missing, Busy."""
    with _watcher(context):
        return await run_detail(context, await _until_finished(context, id, wait_sec))


async def start_and_wait(
    context: AppContext, start: Callable[..., Awaitable[StartedRun]], wait_sec: float
) -> tuple[StartedRun, RunDetail]:
    """`start` a run with the `id` that it is called with, and wait for its end. Raises as `start` does, Busy."""
    id = new_id()
    # Listening begins before there is a run, so the first look can wait for the notification.
    with _watcher(context), context.broker.listen(RUNS_FINISHED, id=str(id)) as listener:
        started = await start(id=id)
        if started.created:
            row = await _finished(context, id, listener, wait_sec, is_new=True)
        else:
            row = await _until_finished(context, started.id, wait_sec)
    return started, await run_detail(context, row)


@contextmanager
def _watcher(context: AppContext) -> Iterator[None]:
    if context.watchers >= MAX_WATCHERS:
        raise Busy(f"{MAX_WATCHERS} requests wait for runs already.", hint="Ask without wait_sec.")
    context.watchers += 1
    try:
        yield
    finally:
        context.watchers -= 1


async def _until_finished(context: AppContext, id: UUID, wait_sec: float) -> RunRow:
    with context.broker.listen(RUNS_FINISHED, id=str(id)) as listener:
        return await _finished(context, id, listener, wait_sec)


async def _finished(
    context: AppContext, id: UUID, listener: Listener, wait_sec: float, *, is_new: bool = False
) -> RunRow:
    """`is_new`: it cannot have ended before `listener` listened."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_sec
    if is_new and not context.stopping.is_set():
        await listener.wait(min(POLL_SEC, wait_sec))
    while True:
        async with context.db.connection() as conn:
            run = await get_run(conn, id)
        left = deadline - clock()
        if run.status in RUN_FINAL or left <= 0 or context.stopping.is_set():
            return run
        await listener.wait(min(POLL_SEC, left))
