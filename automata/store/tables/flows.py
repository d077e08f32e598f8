"""Flows, their versions and their schedules."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table, UniqueConstraint, text

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

flows = Table(
    "flows",
    metadata,
    key_column(),
    text_column("name", unique=True),
    uuid_column("source_id", ForeignKey("sync_sources.id")),
    uuid_column("current_version_id", ForeignKey("flow_versions.id", use_alter=True)),
    *object_column("labels", server_default=EMPTY),
    time_column("archived_at"),
    stamp_column("created_at"),
    stamp_column("updated_at"),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9._-]{0,99}$'", name="name"),
    Index("flows_source", "source_id"),
    Index("flows_labels", "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

flow_versions = Table(
    "flow_versions",
    metadata,
    key_column(),
    uuid_column("flow_id", ForeignKey("flows.id"), nullable=False),
    Column("number", Integer, nullable=False),
    text_column("content_hash"),
    *object_column("spec"),
    *object_column("variables", server_default=EMPTY),
    Column("spec_written", JSON),
    Column("variables_written", JSON),
    text_column("commit_sha", nullable=True),
    text_column("path", nullable=True),
    text_column("author", nullable=True),
    text_column("message", nullable=True),
    time_column("committed_at"),
    stamp_column("created_at"),
    UniqueConstraint("flow_id", "number"),
    UniqueConstraint("flow_id", "content_hash"),
    CheckConstraint("number > 0", name="number"),
)

schedules = Table(
    "schedules",
    metadata,
    key_column(),
    uuid_column("flow_id", ForeignKey("flows.id"), nullable=False),
    text_column("name"),
    text_column("origin"),
    *object_column("spec"),
    Column("spec_written", JSON),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    time_column("next_fire_at"),
    time_column("last_fire_at"),
    stamp_column("created_at"),
    stamp_column("updated_at"),
    text_column("last_error", nullable=True),
    UniqueConstraint("flow_id", "name"),
    one_of("origin", "git", "api"),
)
Index(
    "schedules_due",
    schedules.c.next_fire_at,
    postgresql_where=schedules.c.next_fire_at.is_not(None),
)
