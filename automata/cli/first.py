"""The admin's token that the first start of a server shows, where one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automata.settings import Settings

if TYPE_CHECKING:
    from automata.store.database import Database

FIRST = "The first start: this token is an admin's and shown this once; `automata token rotate admin` makes another."


async def admin_token(db: Database, settings: Settings) -> str | None:
    """Its text; None where there has been a token, or nobody has to say who they are."""
    from automata.access.first import first_token
    from automata.access.mode import authenticates

    return await first_token(db) if authenticates(settings) else None
