"""Commands that work on the database by themselves: whoever may reach it needs no token, and is named in the log."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from automata.settings import Settings, load

if TYPE_CHECKING:
    from automata.store.audit import Actor
    from automata.store.database import Database

T = TypeVar("T")


def on_database(work: Callable[[Database], Awaitable[T]], settings: Settings | None = None) -> T:
    """What `work` makes of the database of the settings. Raises Unavailable."""
    from automata.cli.database import database
    from automata.store.database import Database
    from automata.store.migrate import upgrade

    settings = settings or load()

    async def run(url: str) -> T:
        async with await Database.open(url, max_size=2, direct_url=settings.database_direct_url) as db:
            return await work(db)

    with database(settings) as url:
        # The embedded server is ours alone; a server of somebody else's is changed only by `automata migrate`.
        if not settings.database_url:
            upgrade(url)
        return asyncio.run(run(url))


def myself() -> Actor:
    """Who the log of changes names for a command at this machine: the account that it runs as."""
    from automata.store.audit import Actor

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        name = "unknown"
    return Actor(name, "admin", address="cli")
