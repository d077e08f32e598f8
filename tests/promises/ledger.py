"""The effects ledger: a real HTTP service that writes down every call that reached it. Runs in a thread of the test."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Call:
    """One POST /effect. `key` is its Idempotency-Key, `serial` the number that its answer carried: no two are alike."""

    serial: int
    key: str
    body: Any


class Ledger:
    """Answers {"seen": the body, "serial": n} after `delay_sec`."""

    def __init__(self, delay_sec: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.hung_up = 0  # callers that left before their answer
        self.is_down = False  # then a call is written down, and answered with 503
        self.url = ""
        self._serials = itertools.count(1)
        self._delay = delay_sec
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def by_key(self) -> Counter[str]:
        return Counter(call.key for call in self.calls)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        app = web.Application()
        app.router.add_post("/effect", self._effect)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._up.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _effect(self, request: web.Request) -> web.Response:
        call = Call(next(self._serials), request.headers["Idempotency-Key"], await request.json())
        self.calls.append(call)
        try:
            await asyncio.sleep(self._delay)
        except asyncio.CancelledError:
            self.hung_up += 1
            raise
        return web.json_response({"seen": call.body, "serial": call.serial}, status=503 if self.is_down else 200)
