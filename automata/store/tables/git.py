"""What Automata knows of Git: sources, their syncs, and proposals."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from automata.store.tables.columns import (
    EMPTY,
    key_column,
    metadata,
    one_of,
    stamp_column,
    text_column,
    time_column,
    uuid_column,
)

sync_sources = Table(
    "sync_sources",
    metadata,
    key_column(),
    text_column("url"),
    text_column("path", server_default=""),
    text_column("branch"),
    text_column("environment"),
    text_column("head_sha", nullable=True),
    text_column("tree_sha", nullable=True),
    time_column("synced_at"),
    stamp_column("created_at"),
    Column("heal", Boolean, nullable=False, server_default=text("false")),
    time_column("pinned_at"),
    text_column("pinned_by", nullable=True),
    text_column("pinned_reason", nullable=True),
    time_column("hinted_at"),
    text_column("seen_sha", nullable=True),
    time_column("seen_at"),
    Column("drift", JSON),
    time_column("drift_at"),
    time_column("asked_at"),
    UniqueConstraint("url", "path", "environment"),
    CheckConstraint("(pinned_at IS NULL) = (pinned_by IS NULL)", name="pinned"),
)

sync_attempts = Table(
    "sync_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    uuid_column("source_id", ForeignKey("sync_sources.id"), nullable=False),
    text_column("sha", nullable=True),
    text_column("status"),
    time_column("started_at", nullable=False),
    stamp_column("finished_at"),
    Column("plan", JSON),
    Column("error", JSON),
    one_of("status", "synced", "unchanged", "failed", "refused", "healed", "rolled_back"),
    Index("sync_attempts_latest", "source_id", "id"),
)

sync_sets = Table(
    "sync_sets",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    uuid_column("source_id", ForeignKey("sync_sources.id"), nullable=False),
    text_column("sha"),
    stamp_column("created_at"),
    Index("sync_sets_latest", "source_id", "id"),
)

sync_members = Table(
    "sync_members",
    metadata,
    uuid_column("source_id", ForeignKey("sync_sources.id"), primary_key=True),
    uuid_column("flow_id", ForeignKey("flows.id"), primary_key=True),
    Column("from_set", BigInteger, primary_key=True, autoincrement=False),
    Column("until_set", BigInteger),
    uuid_column("version_id", ForeignKey("flow_versions.id"), nullable=False),
    text_column("name"),
    CheckConstraint("until_set > from_set", name="order"),
    Index("sync_members_until", "source_id", "until_set"),
)

sync_deliveries = Table(
    "sync_deliveries",
    metadata,
    text_column("key", primary_key=True),
    stamp_column("received_at"),
    Index("sync_deliveries_received", "received_at"),
)

proposals = Table(
    "proposals",
    metadata,
    key_column(),
    Column("number", BigInteger, Identity(always=True), unique=True, nullable=False),
    uuid_column("source_id", ForeignKey("sync_sources.id"), nullable=False),
    text_column("branch"),
    text_column("title"),
    text_column("author"),
    text_column("state", server_default="DRAFT"),
    text_column("head_sha"),
    text_column("merge_sha", nullable=True),
    text_column("ended_by", nullable=True),
    time_column("ended_at"),
    stamp_column("created_at"),
    stamp_column("updated_at"),
    Column("commits", ARRAY(Text), nullable=False, server_default=EMPTY),
    Column("check_id", BigInteger),
    Column("review_ids", ARRAY(BigInteger), nullable=False, server_default=EMPTY),
    Column("makers", ARRAY(Text), nullable=False, server_default=EMPTY),
    one_of("state", "DRAFT", "PENDING_REVIEW", "APPLIED", "REJECTED", "CLOSED"),
    CheckConstraint("(state IN ('DRAFT', 'PENDING_REVIEW')) = (ended_at IS NULL)", name="ended"),
    Index("proposals_open", "source_id", "branch", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("proposals_ended", "source_id", "branch", postgresql_where=text("ended_at IS NOT NULL")),
    Index("proposals_commits", "commits", postgresql_using="gin"),
)


def _bound(name: str, *columns: Any) -> Table:
    """What is said of one proposal as it was: of this head, base, merge tree and policy."""
    return Table(
        name,
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        uuid_column("proposal_id", ForeignKey("proposals.id"), nullable=False),
        text_column("head"),
        text_column("base"),
        text_column("tree"),
        text_column("policy"),
        *columns,
        stamp_column("created_at"),
        Index(f"{name}_proposal", "proposal_id", "id"),
    )


proposal_checks = _bound(
    "proposal_checks", Column("passed", Boolean, nullable=False), Column("report", JSON, nullable=False)
)
proposal_reviews = _bound(
    "proposal_reviews",
    Column("approved", Boolean, nullable=False),
    text_column("by"),
    text_column("comment", server_default=text("''")),
    text_column("identity", nullable=True),
)
