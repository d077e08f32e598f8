"""A line for tokens that let nobody in: who tried, from where, and what was wrong with the token.

Failure argument. Strangers may not fill the log: an address has a line a minute, all together one a second, and what is
left out is counted in the next line. Only a token that was one of ours once, expired or revoked, goes to the log of
changes as well: whoever sends it has held it. The database is asked for that only where a line is due, and a line is
written whether it answers or not. The token itself is in neither.
"""

from __future__ import annotations

import logging
from typing import Final

from fastapi import Request

from automata.access.rate_limiter import RateLimiter, client_key
from automata.access.token_text import digest, is_token_text
from automata.errors import AutomataError
from automata.store import tokens as store
from automata.store.audit import Actor, AuditEvent, record_change_by
from automata.store.database import Database
from automata.store.tokens import TokenRow

PER_ADDRESS_SEC: Final = 1 / 60
PER_SEC: Final = 1.0  # of all addresses together
BURST: Final = 30
PER_TOKEN_SEC: Final = 1 / 600  # entries of one token in the log of changes
MAX_PATH_CHARS: Final = 200

log = logging.getLogger(__name__)


class RefusedTokens:
    """`note` is called for each token that is not good."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._addresses = RateLimiter(PER_ADDRESS_SEC, 1)
        self._all = RateLimiter(PER_SEC, BURST)
        self._tokens = RateLimiter(PER_TOKEN_SEC, 1)
        self._untold = 0

    async def note(self, request: Request, text: str, address: str, request_id: str) -> None:
        """Write the line, and the entry for a token that was one; nothing beyond the bounds. Never raises."""
        if self._addresses.take(client_key(address)) or self._all.take(""):
            self._untold += 1
            return
        row = await self._row(text)
        why = _why(text, row)
        details = {
            "why": why,
            "token": row.name if row else "",
            "address": address,
            "path": str(request.scope.get("path", ""))[:MAX_PATH_CHARS],
            "request_id": request_id,
            "untold": self._untold,
        }
        self._untold = 0
        log.warning("a token was refused", extra=details)
        if row and not self._tokens.take(str(row.id)):
            await self._record(row, why, address, request_id)

    async def _row(self, text: str) -> TokenRow | None:
        if not is_token_text(text):
            return None
        try:
            async with self._db.connection() as conn:
                row = await store.any_token_of(conn, digest(text))
        except AutomataError:
            return None
        return row if row and not row.left_sec else None  # one that is good by now was made at this moment

    async def _record(self, row: TokenRow, why: str, address: str, request_id: str) -> None:
        actor = Actor(row.name, row.role, row.id, address, request_id)
        try:
            async with self._db.transaction() as conn:
                await record_change_by(conn, actor, AuditEvent("token.refuse", f"token/{row.name}", None, {"why": why}))
        except AutomataError as error:
            log.warning("a refused token is not in the log of changes: %s", error)


def _why(text: str, row: TokenRow | None) -> str:
    if row is None:
        return "unknown" if is_token_text(text) else "no token"
    return "revoked" if row.revoked_at else "expired"
