"""Sessions of people at the console: a cookie with 256 random bits and our signature, and a row that can be ended.

Failure argument. The signature keeps made-up cookies away from the database; the row, kept under the SHA-256 of the
bits, decides. Every sign-in draws new bits and ends the session whose cookie came along, so nobody is signed in under
bits that somebody else planted. After an hour the bits are renewed; the former ones are good for two minutes more,
for requests that are under way, and of several that renew at once one wins. The token for forms belongs to the session
and not to its bits: a form that was open meanwhile can still be sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from automata.access.principal import Principal, Role
from automata.access.signing import Signatures
from automata.access.token_text import digest
from automata.access.tokens import CACHE_SEC, Tokens
from automata.caching import SingleFlightCache
from automata.errors import Usage
from automata.store import sessions as store
from automata.store.audit import Actor, AuditEvent, record_change_by
from automata.store.database import Database
from automata.store.people import remember_person
from automata.store.sessions import SessionRow

SESSION_TTL = timedelta(hours=12)
MIN_SECRET_CHARS = 32  # characters of AUTOMATA_SESSION_SECRET
NOBODYS = "@oidc.invalid"  # of whom the provider does not know, or does not say, the address
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

    `config_digest` is of the provider's settings: a session that no token opened ends when they change.
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
        self._signatures = Signatures(secret.encode()) if secret else None
        self._config_digest = config_digest
        self._known: SingleFlightCache[bytes, Session] = SingleFlightCache(self._read, ttl_sec=cache_sec)

    def clear(self) -> None:
        """Forget what was read, so that a change made by this process holds at once."""
        self._known.clear()

    async def sign_in(self, token: str, actor: Actor, former: str = "") -> Session | None:
        """A session for whom the token lets in; None when it is not good. `former` is the cookie of the request."""
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
        """A session for somebody who has proved who they are; `facts` go to the log of changes. Raises Unavailable."""
        signatures = await self.signatures()
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
            if principal.token_id is None and not principal.mail.endswith(NOBODYS):
                await remember_person(conn, principal.mail)
            shown = {"name": principal.name, **(facts or {})}
            await record_change_by(conn, actor, AuditEvent("session.open", f"session/{id}", None, shown))
        self.clear()
        return Session(id, principal, cookie=_signed(bits, signatures))

    async def session_of(self, cookie: str) -> Session | None:
        """The session that a cookie belongs to; None for one that is made up or has ended. Raises Unavailable."""
        bits = _bits(cookie, await self.signatures())
        return await self._known.get(digest(bits)) if bits else None

    async def principal_of(self, cookie: str) -> Principal | None:
        """Who is signed in under a cookie. Raises Unavailable."""
        session = await self.session_of(cookie)
        return session.principal if session else None

    async def renew(self, session: Session, cookie: str) -> str | None:
        """The cookie that takes the place of this one; None when it need not, or another request was first."""
        if not session.is_due:
            return None
        signatures = await self.signatures()
        bits = secrets.token_urlsafe(32)
        async with self._db.connection() as conn:
            won = await store.renew_session(conn, digest(_bits(cookie, signatures)), digest(bits))
        self.clear()
        return _signed(bits, signatures) if won else None

    async def sign_out(self, session: Session, actor: Actor) -> None:
        """End a session: its cookie lets nobody in any more. Raises Unavailable."""
        async with self._db.transaction() as conn:
            await store.end_session(conn, session.id)
            await record_change_by(conn, actor, AuditEvent("session.end", f"session/{session.id}"))
        self.clear()

    async def csrf_token(self, session: Session) -> str:
        """What a form of this session carries."""
        return (await self.signatures()).sign("csrf", str(session.id))

    async def check_csrf(self, session: Session, token: str) -> bool:
        """Whether a form was made for this session."""
        return (await self.signatures()).fits(token, "csrf", str(session.id))

    async def signatures(self) -> Signatures:
        """Those of our secret, which all processes share. Raises Unavailable."""
        if self._signatures is None:
            async with self._db.connection() as conn:
                secret = await store.secret_of(conn, _SECRET, secrets.token_bytes(32))
            self._signatures = Signatures(secret)
        return self._signatures

    async def _read(self, key: bytes) -> tuple[Session, float] | None:
        async with self._db.connection() as conn:
            row = await store.session_of(conn, key, self._config_digest)
        return (_session(row), row.left_sec) if row else None


def _session(row: SessionRow) -> Session:
    principal = Principal(row.name, row.mail, Role.read(row.role), row.labels, row.token_id)
    return Session(row.id, principal, row.expires_at, is_due=row.is_due)


def _signed(bits: str, signatures: Signatures) -> str:
    return f"{bits}.{signatures.sign('session', bits)}"


def _bits(cookie: str, signatures: Signatures) -> str:
    """The random part of a cookie whose signature is ours, else nothing."""
    bits, _, signature = cookie.partition(".")
    return bits if signatures.fits(signature, "session", bits) else ""
