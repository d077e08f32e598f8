"""Requests that share a round trip: while one batch is on its way, the next ones gather. Nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from automata.errors import Busy, Unavailable

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MAX_WAITING = 2000  # questions in line; at 3,000 a second this is under a second of work


class Batcher(Generic[Question, Answer]):
    """`answer` gets up to `batch` questions and gives, in their order, what each is told: a value or its error.

    What `answer` raises itself is told to all of the batch. A question is only ever answered by a batch that began
    after it was asked, so a reader sees what was committed before.
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
        self._line: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Raises Busy when the line is full; nothing was done then."""
        if len(self._line) >= self._max_waiting:
            raise Busy("More requests wait in line than this server takes.", hint="Try again in a second.")
        mine: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._line.append((question, mine))
        if self._worker is None:
            # In a context of its own: what is done for several is done for none of them, under nobody's limit.
            self._worker = asyncio.create_task(self._work(), context=Context())
        return await mine

    async def _work(self) -> None:
        try:
            while self._line:
                taken, self._line = self._line[: self._batch], self._line[self._batch :]
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
    if waiter.done():  # whoever asked has left
        return
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
