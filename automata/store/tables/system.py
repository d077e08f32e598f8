"""What keeps the system itself going: leaders, processes, notifications."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

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

leaders = Table(
    "leaders",
    metadata,
    text_column("role", primary_key=True),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    text_column("holder"),
    stamp_column("since"),
)

processes = Table(
    "processes",
    metadata,
    uuid_column("id", primary_key=True),
    text_column("name"),
    Column("parts", ARRAY(Text), nullable=False, server_default=EMPTY),
    Column("queues", ARRAY(Text), nullable=False, server_default=EMPTY),
    Column("concurrency", Integer, nullable=False),
    text_column("version"),
    Column("clock_ms", Double, nullable=False),
    stamp_column("started_at"),
    stamp_column("seen_at"),
    postgresql_with={"fillfactor": 50},
)

notification_rules = Table(
    "notification_rules",
    metadata,
    uuid_column("source_id", ForeignKey("sync_sources.id"), primary_key=True),
    text_column("name", primary_key=True),
    *object_column("spec"),
)

# Not `run_id`: both have their own time to live, and a message about a run outlives it.
notification_events = Table(
    "notification_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    text_column("kind"),
    Column("about", JSONB, nullable=False),
    stamp_column("at"),
)

notifications = Table(
    "notifications",
    metadata,
    key_column(),
    text_column("event"),
    uuid_column("source_id"),
    text_column("rule"),
    text_column("kind"),
    Column("payload", JSON, nullable=False),
    text_column("url"),
    text_column("secret", nullable=True),
    text_column("template"),
    text_column("state", server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("due_at"),
    Column("status", Integer),
    text_column("error", nullable=True),
    stamp_column("created_at"),
    time_column("ended_at"),
    UniqueConstraint("event", "source_id", "rule"),
    one_of("state", "pending", "delivered", "failed"),
    CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="ended"),
    Index("notifications_due", "due_at", postgresql_where=text("state = 'pending'")),
    Index("notifications_created", "created_at", "id"),
)
