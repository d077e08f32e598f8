"""The admin's token that the first start of a server shows, where one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automata.settings import Settings

if TYPE_CHECKING:
    from automata.store.database import Database


async def bootstrap_token(db: Database, settings: Settings) -> str | None:
    """Its text; None where there has been a token, or nobody has to say who they are."""
    from automata.access.bootstrap_token import create_bootstrap_token
    from automata.access.exposure import authenticates

    return await create_bootstrap_token(db) if authenticates(settings) else None
