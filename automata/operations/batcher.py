"""Requests that share a round trip: while one batch is under way, the next requests gather. None waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from automata.errors import Busy, Unavailable

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MAX_WAITING = 2000  # questions; at 3,000 a second this is under a second of work


class Batcher(Generic[Question, Answer]):
    """`answer` gets up to `batch` questions and returns an answer for each, in their order: a value or an error.

    What `answer` raises itself is the answer to each of the batch. Only a batch that began after a question came
    answers it, so a reader sees what was committed before.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        batch: int,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._answer = answer
        self._batch = max(1, batch)
        self._max_waiting = max_waiting
        self._queue: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, question: Question) -> Answer:
        """The answer to a question. Raises its error; Busy when the queue is full, and nothing was done then."""
        if len(self._queue) >= self._max_waiting:
            raise Busy("More requests wait in line than this server takes.", hint="Try again in a second.")
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((question, waiter))
        if self._worker is None:
            # In an empty context: work for several requests runs under the label limit of none of them.
            self._worker = asyncio.create_task(self._work(), context=Context())
        return await waiter

    async def _work(self) -> None:
        try:
            while self._queue:
                taken, self._queue = self._queue[: self._batch], self._queue[self._batch :]
                await self._settle([question for question, _ in taken], [waiter for _, waiter in taken])
        finally:
            self._worker = None

    async def _settle(self, questions: Sequence[Question], waiters: Sequence[asyncio.Future[Answer]]) -> None:
        """Every waiter has its answer afterwards, whatever happens."""
        try:
            answers = await self._answer(questions)
        except Exception as error:
            answers = [error] * len(questions)
        except BaseException:
            for waiter in waiters:
                _resolve(waiter, Unavailable("The server is stopping."))
            raise
        for waiter, answer in zip(waiters, answers, strict=True):
            _resolve(waiter, answer)


def _resolve(waiter: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if waiter.done():  # the request was cancelled
        return
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
