"""The pause of a loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from automata.pausing import pause

GENEROUS_SEC = 20.0


async def test_a_pause_without_a_stop_takes_its_time() -> None:
    began = time.monotonic()
    await pause(0.05, asyncio.Event())
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("seconds", [600.0, 0.0, -1.0])
async def test_a_stop_ends_a_pause_at_once(seconds: float) -> None:
    stop = asyncio.Event()
    stop.set()
    began = time.monotonic()
    await pause(seconds, stop)
    assert time.monotonic() - began < GENEROUS_SEC
