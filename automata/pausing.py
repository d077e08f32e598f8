"""The one pause that every loop of a service makes: some seconds, or until the process is to end."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Return after `seconds`, or at once when `stop` is set. A pause of zero or less still checks `stop`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
