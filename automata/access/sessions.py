"""Sessions of people at the console: a cookie with 256 random bits and our signature, and a row that can be ended.

Failure argument. The signature keeps made-up cookies away from the database; the row, kept under the SHA-256 of the
bits, decides. Every sign-in draws new bits and ends the session whose cookie came along, so nobody is signed in under
bits that somebody else planted. After an hour the bits are renewed; the former ones are good for two minutes more,
for requests that are under way, and of several that renew at once one wins. The token for forms belongs to the session
and not to its bits: a form that was open meanwhile can still be sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from automata.access.principal import Principal, Role
from automata.access.token_text import digest
from automata.access.tokens import CACHE_SEC, Tokens
from automata.caching import SingleFlightCache
from automata.errors import Usage
from automata.store import sessions as store
from automata.store.audit import Actor, Deed, record
from automata.store.database import Database
from automata.store.sessions import SessionRow

SESSION_TTL = timedelta(hours=12)
MIN_SECRET_CHARS = 32  # characters of AUTOMATA_SESSION_SECRET
_SECRET = "session"  # noqa: S105 - the name of the row that holds it


@dataclass(frozen=True, slots=True)
class Session:
    """`cookie` is what the browser keeps, set where a new one was drawn."""

    id: UUID
    principal: Principal
    expires_at: datetime | None = None
    cookie: str | None = None
    is_due: bool = False


class Sessions:
    """`secret` signs cookies; empty: one that processes share through the database. Raises Usage for a short one.

    `basis` is what sessions rest on that no token has opened; those of another one have ended.
    """

    def __init__(
        self,
        db: Database,
        tokens: Tokens,
        secret: str = "",
        config_digest: bytes | None = None,
        *,
        cache_sec: float = CACHE_SEC,
    ) -> None:
        if secret and len(secret) < MIN_SECRET_CHARS:
            raise Usage(
                f"AUTOMATA_SESSION_SECRET has {len(secret)} characters; {MIN_SECRET_CHARS} are the least.",
                code="bad_setting",
                hint="openssl rand -hex 32 makes one; without it Automata makes its own.",
            )
        self._db = db
        self._tokens = tokens
        self._secret = secret.encode()
        self._config_digest = config_digest
        self._known: SingleFlightCache[bytes, Session] = SingleFlightCache(self._read, ttl_sec=cache_sec)

    def clear(self) -> None:
        self._known.clear()

    async def sign_in(self, token: str, actor: Actor, former: str = "") -> Session | None:
        """A session for whom the token lets in; None when it is not good. `former` is the cookie that came along."""
        principal = await self._tokens.principal(token)
        return None if principal is None else await self.open(principal, actor, former)

    async def open(
        self,
        principal: Principal,
        actor: Actor,
        former: str = "",
        *,
        ttl: timedelta = SESSION_TTL,
        facts: Mapping[str, str] | None = None,
    ) -> Session:
        """A session for somebody who has been found to be who they say; `facts` are told to the log of changes."""
        secret = await self._key()
        bits = secrets.token_urlsafe(32)
        earlier = await self.session_of(former) if former else None
        async with self._db.transaction() as conn:
            if earlier:
                await store.end_session(conn, earlier.id)
            id = await store.add_session(
                conn,
                digest(bits),
                token_id=principal.token_id,
                name=principal.name,
                mail=principal.mail,
                role=principal.role.word,
                labels=principal.labels,
                ttl=ttl,
                config_digest=None if principal.token_id else self._config_digest,
            )
            told = {"name": principal.name, **(facts or {})}
            await record(conn, actor, Deed("session.open", f"session/{id}", None, told))
        self.clear()
        return Session(id, principal, cookie=_signed(bits, secret))

    async def session_of(self, cookie: str) -> Session | None:
        """The session that a cookie belongs to; None for one that is made up or has ended. Raises Unavailable."""
        bits = _bits(cookie, await self._key())
        return await self._known.get(digest(bits)) if bits else None

    async def principal_of(self, cookie: str) -> Principal | None:
        session = await self.session_of(cookie)
        return session.principal if session else None

    async def renew(self, session: Session, cookie: str) -> str | None:
        """The cookie that takes the place of this one; None when it need not, or another request was first."""
        if not session.is_due:
            return None
        secret = await self._key()
        bits = secrets.token_urlsafe(32)
        async with self._db.connection() as conn:
            won = await store.renew_session(conn, digest(_bits(cookie, secret)), digest(bits))
        self.clear()
        return _signed(bits, secret) if won else None

    async def sign_out(self, session: Session, actor: Actor) -> None:
        async with self._db.transaction() as conn:
            await store.end_session(conn, session.id)
            await record(conn, actor, Deed("session.end", f"session/{session.id}"))
        self.clear()

    async def csrf_token(self, session: Session) -> str:
        """What a form of this session carries."""
        return await self.mac(f"csrf {session.id}")

    async def mac(self, text: str) -> str:
        """Our signature; the first word of `text` says what for, and is not `session`."""
        return _mac(text, await self._key())

    async def check_csrf(self, session: Session, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), (await self.csrf_token(session)).encode())

    async def _read(self, key: bytes) -> tuple[Session, float] | None:
        async with self._db.connection() as conn:
            row = await store.session_of(conn, key, self._config_digest)
        return (_session(row), row.left_sec) if row else None

    async def _key(self) -> bytes:
        if not self._secret:
            async with self._db.connection() as conn:
                self._secret = await store.secret_of(conn, _SECRET, secrets.token_bytes(32))
        return self._secret


def _session(row: SessionRow) -> Session:
    principal = Principal(row.name, row.mail, Role.read(row.role), row.labels, row.token_id)
    return Session(row.id, principal, row.expires_at, is_due=row.is_due)


def _signed(bits: str, secret: bytes) -> str:
    return f"{bits}.{_mac(f'session {bits}', secret)}"


def _bits(cookie: str, secret: bytes) -> str:
    """The random part of a cookie whose signature is ours, else nothing."""
    bits, _, mac = cookie.partition(".")
    fits = hmac.compare_digest(mac.encode(errors="replace"), _mac(f"session {bits}", secret).encode())
    return bits if fits else ""


def _mac(text: str, secret: bytes) -> str:
    found = hmac.new(secret, text.encode(errors="replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=")
