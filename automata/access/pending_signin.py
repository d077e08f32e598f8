"""A sign-in that has been sent to the provider and is not back yet: kept by the browser, in a cookie.

Failure argument. The cookie holds random bits, a moment and a path of ours; state, nonce and the PKCE verifier are
signatures of all of it by the server's secret, so that a browser's memory gives none of them away and nothing is stored
for strangers. An answer counts where its `state` is the signature of the cookie that came with it: one that was
altered, made elsewhere, or for somebody else, has none. It counts once in all processes: the first takes a row, and a
copy finds it there.
The signed and dated values of itsdangerous would not do: they put the values themselves into the cookie.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, unquote

from automata.access.sessions import Sessions
from automata.access.signing import Signatures
from automata.access.token_text import digest
from automata.store.database import Database
from automata.store.sessions import use_once

PENDING_TTL = timedelta(minutes=10)
MAX_PATH = 1_000  # characters of where to go on; a longer one is forgotten, for cookies are small


@dataclass(frozen=True, slots=True)
class PendingSignin:
    """`cookie` is what the browser keeps until then; `return_to` a path of ours."""

    cookie: str
    state: str
    nonce: str
    verifier: str
    return_to: str


async def begin(sessions: Sessions, return_to: str) -> PendingSignin:
    """`return_to` must be a path of ours. Raises Unavailable."""
    path = quote(return_to, safe="/")
    kept = path if len(path) <= MAX_PATH else "/"
    return _pending(await sessions.signatures(), f"{secrets.token_urlsafe(32)}.{int(time.time())}.{kept}")


async def resume(sessions: Sessions, cookie: str, state: str) -> PendingSignin | None:
    """None when the state does not belong to the cookie, or that is too old. Raises Unavailable."""
    signatures = await sessions.signatures()
    if cookie.count(".") < 2 or not signatures.fits(state, "state", cookie):
        return None
    age_sec = time.time() - int(cookie.split(".", 2)[1])
    return _pending(signatures, cookie) if 0 <= age_sec <= PENDING_TTL.total_seconds() else None


async def use_up(db: Database, pending: PendingSignin) -> bool:
    """True for the first of all that come back with this one."""
    async with db.transaction() as conn:
        return await use_once(conn, digest(pending.state), 2 * PENDING_TTL)


def _pending(signatures: Signatures, cookie: str) -> PendingSignin:
    state, nonce, verifier = (signatures.sign(purpose, cookie) for purpose in ("state", "nonce", "verifier"))
    return PendingSignin(cookie, state, nonce, verifier, unquote(cookie.split(".", 2)[2]))
