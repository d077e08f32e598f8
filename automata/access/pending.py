"""A sign-in that has been sent to the provider and is not back yet: kept by the browser, in a cookie that we sign.

Failure argument. The cookie holds random bits, a moment and a path of ours; state, nonce and the PKCE verifier are made
of the bits with the server's secret, so that a browser's memory gives none of them away and nothing is stored for
strangers. An answer counts where its `state` belongs to the cookie that came with it: one that was made elsewhere, or
for somebody else, has none. It counts once in all processes: the first takes a row, and a copy finds it there.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from hmac import compare_digest
from urllib.parse import quote, unquote

from automata.access.secret import digest
from automata.access.sessions import Sessions
from automata.store.database import Database
from automata.store.sessions import spend

LIVES = timedelta(minutes=10)
MAX_PATH = 1_000  # characters of where to go on; a longer one is forgotten, for cookies are small


@dataclass(frozen=True, slots=True)
class Pending:
    """`cookie` is what the browser keeps until then; `onto` a path of ours."""

    cookie: str
    state: str
    nonce: str
    verifier: str
    onto: str


async def begin(sessions: Sessions, onto: str) -> Pending:
    """`onto` must be a path of ours."""
    path = quote(onto, safe="/")
    said = f"{secrets.token_urlsafe(32)}.{int(time.time())}.{path if len(path) <= MAX_PATH else '/'}"
    return await _made(sessions, f"{said}!{await sessions.mac(f'pending {said}')}")


async def resume(sessions: Sessions, cookie: str, state: str) -> Pending | None:
    """None when the cookie is not ours or too old, or the state belongs to another one."""
    said, _, mac = cookie.rpartition("!")
    if not _same(mac, await sessions.mac(f"pending {said}")):
        return None
    if not 0 <= time.time() - int(said.split(".", 2)[1]) <= LIVES.total_seconds():
        return None
    found = await _made(sessions, cookie)
    return found if _same(state, found.state) else None


async def use_up(db: Database, pending: Pending) -> bool:
    """True for the first of all that come back with this one."""
    async with db.transaction() as conn:
        return await spend(conn, digest(pending.state), 2 * LIVES)


async def _made(sessions: Sessions, cookie: str) -> Pending:
    said = cookie.rpartition("!")[0]
    state, nonce, verifier = [await sessions.mac(f"{word} {said}") for word in ("state", "nonce", "verifier")]
    return Pending(cookie, state, nonce, verifier, unquote(said.split(".", 2)[2]))


def _same(given: str, expected: str) -> bool:
    return compare_digest(given.encode(errors="replace"), expected.encode())
