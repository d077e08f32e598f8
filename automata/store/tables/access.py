"""Who comes in, and the log of who changed what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Identity, Index, LargeBinary, Table
from sqlalchemy.dialects.postgresql import JSON

from automata.store.tables.columns import (
    EMPTY,
    key_column,
    metadata,
    object_column,
    one_of,
    stamp_column,
    text_column,
    time_column,
    uuid_column,
)


def _holder(*columns: Any) -> tuple[Any, ...]:
    """Who somebody is that a token or a session lets in."""
    return (
        text_column("name"),
        text_column("mail"),
        text_column("role"),
        *object_column("labels", server_default=EMPTY),
        one_of("role", "viewer", "operator", "author", "reviewer", "admin"),
        *columns,
    )


access_tokens = Table(
    "access_tokens",
    metadata,
    key_column(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    *_holder(stamp_column("created_at"), text_column("created_by"), time_column("expires_at", nullable=False)),
    time_column("revoked_at"),
    time_column("used_at"),
    CheckConstraint("role <> 'admin' OR labels = '{}'", name="limit"),
)
Index("access_tokens_name", access_tokens.c.name, unique=True, postgresql_where=access_tokens.c.revoked_at.is_(None))

access_sessions = Table(
    "access_sessions",
    metadata,
    key_column(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("former", LargeBinary, unique=True),
    uuid_column("token_id", ForeignKey("access_tokens.id")),
    *_holder(stamp_column("created_at"), stamp_column("renewed_at"), time_column("expires_at", nullable=False)),
    Column("basis", LargeBinary),
    Index("access_sessions_token", "token_id"),
    Index("access_sessions_expired", "expires_at"),
)

access_spent = Table(
    "access_spent",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    time_column("expires_at", nullable=False),
    Index("access_spent_expired", "expires_at"),
)

access_people = Table(
    "access_people",
    metadata,
    text_column("mail", primary_key=True),
    stamp_column("first_at"),
)

access_secrets = Table(
    "access_secrets",
    metadata,
    text_column("name", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    stamp_column("at"),
    text_column("actor"),
    text_column("role"),
    uuid_column("token_id"),
    text_column("address"),
    text_column("request_id"),
    text_column("action"),
    text_column("object"),
    Column("before", JSON),
    Column("after", JSON),
    Index("audit_log_object", "object", "id"),
    Index("audit_log_actor", "actor", "id"),
)
