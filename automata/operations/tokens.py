"""Tokens: created, rotated and revoked."""

from __future__ import annotations

from automata.access import tokens
from automata.access.tokens import NewToken
from automata.operations.context import AppContext
from automata.operations.flow_lookups import check_key
from automata.store.audit import Actor
from automata.store.tokens import TokenRow


async def create_token(context: AppContext, by: Actor, wanted: NewToken) -> tuple[str, TokenRow]:
    """A token's text, and what is kept of it. Raises Invalid, Usage, Conflict."""
    async with context.db.transaction() as conn:
        return await tokens.create(conn, by, wanted)


async def rotate_token(context: AppContext, by: Actor, key: str, days: int) -> tuple[str, TokenRow]:
    """Another text for the token of this id or name, and what is kept of it. Raises Missing, Conflict, Invalid."""
    check_key(key)
    async with context.db.transaction() as conn:
        rotated = await tokens.rotate(conn, by, key, days)
    context.forget_credentials()
    return rotated


async def revoke_token(context: AppContext, by: Actor, key: str) -> TokenRow:
    """Refuse the token of this id or name from now on, and end its sessions. Raises Missing."""
    check_key(key)
    async with context.db.transaction() as conn:
        row = await tokens.revoke(conn, by, key)
    context.forget_credentials()
    return row
