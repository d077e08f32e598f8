"""The first token of an installation: somebody has to be let in who can let in others.

Failure argument. Two processes that start at once wait for each other in the database, and the second finds that there
is a token. It is told once, after the commit: whoever misses it makes another one on the database.
"""

from __future__ import annotations

from automata.access.principal import Role
from automata.access.tokens import NewToken, create
from automata.store.audit import Actor
from automata.store.database import Database
from automata.store.tokens import is_first


async def create_bootstrap_token(db: Database) -> str | None:
    """Make the admin's token where there never was one; None otherwise."""
    async with db.transaction() as conn:
        if not await is_first(conn):
            return None
        text, _ = await create(conn, Actor("first start", "admin", address="cli"), NewToken("admin", Role.ADMIN))
        return text
