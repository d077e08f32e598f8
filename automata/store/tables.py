"""The tables as SQLAlchemy Core knows them: for filtered reads, and to prove that the migrations say the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB, UUID

# PostgreSQL's own names, so that a constraint is called the same whoever made it.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _uuid(name: str, *extra: Any, **options: Any) -> Column[Any]:
    return Column(name, UUID, *extra, **options)


def _key() -> Column[Any]:
    return Column("id", UUID, primary_key=True, server_default=func.gen_random_uuid())


def _text(name: str, *extra: Any, nullable: bool = False, **options: Any) -> Column[Any]:
    return Column(name, Text, *extra, nullable=nullable, **options)


def _time(name: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _stamp(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _object(name: str, **options: Any) -> tuple[Column[Any], CheckConstraint]:
    return (
        Column(name, JSONB, nullable=False, **options),
        CheckConstraint(f"jsonb_typeof({name}) = 'object'", name=name),
    )


def _one_of(name: str, *words: str) -> CheckConstraint:
    return CheckConstraint(f"{name} IN ({', '.join(repr(word) for word in words)})", name=name)


_EMPTY = text("'{}'")

sync_sources = Table(
    "sync_sources",
    metadata,
    _key(),
    _text("url"),
    _text("path", server_default=""),
    _text("branch"),
    _text("environment"),
    _text("head_sha", nullable=True),
    _text("tree_sha", nullable=True),
    _time("synced_at"),
    _stamp("created_at"),
    Column("heal", Boolean, nullable=False, server_default=text("false")),
    _time("pinned_at"),
    _text("pinned_by", nullable=True),
    _text("pinned_reason", nullable=True),
    _time("hinted_at"),
    _text("seen_sha", nullable=True),
    _time("seen_at"),
    Column("drift", JSON),
    _time("drift_at"),
    _time("asked_at"),
    UniqueConstraint("url", "path", "environment"),
    CheckConstraint("(pinned_at IS NULL) = (pinned_by IS NULL)", name="pinned"),
)

sync_attempts = Table(
    "sync_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _uuid("source_id", ForeignKey("sync_sources.id"), nullable=False),
    _text("sha", nullable=True),
    _text("status"),
    _time("started_at", nullable=False),
    _stamp("finished_at"),
    Column("plan", JSON),
    Column("error", JSON),
    _one_of("status", "synced", "unchanged", "failed", "refused", "healed", "rolled_back"),
    Index("sync_attempts_latest", "source_id", "id"),
)

sync_sets = Table(
    "sync_sets",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _uuid("source_id", ForeignKey("sync_sources.id"), nullable=False),
    _text("sha"),
    _stamp("created_at"),
    Index("sync_sets_latest", "source_id", "id"),
)

sync_members = Table(
    "sync_members",
    metadata,
    _uuid("source_id", ForeignKey("sync_sources.id"), primary_key=True),
    _uuid("flow_id", ForeignKey("flows.id"), primary_key=True),
    Column("from_set", BigInteger, primary_key=True, autoincrement=False),
    Column("until_set", BigInteger),
    _uuid("version_id", ForeignKey("flow_versions.id"), nullable=False),
    _text("name"),
    CheckConstraint("until_set > from_set", name="order"),
    Index("sync_members_until", "source_id", "until_set"),
)

sync_deliveries = Table(
    "sync_deliveries",
    metadata,
    _text("key", primary_key=True),
    _stamp("received_at"),
    Index("sync_deliveries_received", "received_at"),
)

proposals = Table(
    "proposals",
    metadata,
    _key(),
    Column("number", BigInteger, Identity(always=True), unique=True, nullable=False),
    _uuid("source_id", ForeignKey("sync_sources.id"), nullable=False),
    _text("branch"),
    _text("title"),
    _text("author"),
    _text("state", server_default="DRAFT"),
    _text("head_sha"),
    _text("merge_sha", nullable=True),
    _text("ended_by", nullable=True),
    _time("ended_at"),
    _stamp("created_at"),
    _stamp("updated_at"),
    Column("commits", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("check_id", BigInteger),
    Column("review_ids", ARRAY(BigInteger), nullable=False, server_default=_EMPTY),
    _one_of("state", "DRAFT", "PENDING_REVIEW", "APPLIED", "REJECTED", "CLOSED"),
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
        _uuid("proposal_id", ForeignKey("proposals.id"), nullable=False),
        _text("head"),
        _text("base"),
        _text("tree"),
        _text("policy"),
        *columns,
        _stamp("created_at"),
        Index(f"{name}_proposal", "proposal_id", "id"),
    )


proposal_checks = _bound(
    "proposal_checks", Column("passed", Boolean, nullable=False), Column("report", JSON, nullable=False)
)
proposal_reviews = _bound(
    "proposal_reviews",
    Column("approved", Boolean, nullable=False),
    _text("by"),
    _text("comment", server_default=text("''")),
)

flows = Table(
    "flows",
    metadata,
    _key(),
    _text("name", unique=True),
    _uuid("source_id", ForeignKey("sync_sources.id")),
    _uuid("current_version_id", ForeignKey("flow_versions.id", use_alter=True)),
    *_object("labels", server_default=_EMPTY),
    _time("archived_at"),
    _stamp("created_at"),
    _stamp("updated_at"),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9._-]{0,99}$'", name="name"),
    Index("flows_source", "source_id"),
    Index("flows_labels", "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

flow_versions = Table(
    "flow_versions",
    metadata,
    _key(),
    _uuid("flow_id", ForeignKey("flows.id"), nullable=False),
    Column("number", Integer, nullable=False),
    _text("content_hash"),
    *_object("spec"),
    *_object("variables", server_default=_EMPTY),
    _text("commit_sha", nullable=True),
    _text("path", nullable=True),
    _text("author", nullable=True),
    _text("message", nullable=True),
    _time("committed_at"),
    _stamp("created_at"),
    UniqueConstraint("flow_id", "number"),
    UniqueConstraint("flow_id", "content_hash"),
    CheckConstraint("number > 0", name="number"),
)

schedules = Table(
    "schedules",
    metadata,
    _key(),
    _uuid("flow_id", ForeignKey("flows.id"), nullable=False),
    _text("name"),
    _text("origin"),
    *_object("spec"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    _time("next_fire_at"),
    _time("last_fire_at"),
    _stamp("created_at"),
    _stamp("updated_at"),
    _text("last_error", nullable=True),
    UniqueConstraint("flow_id", "name"),
    _one_of("origin", "git", "api"),
)
Index(
    "schedules_due",
    schedules.c.next_fire_at,
    postgresql_where=schedules.c.next_fire_at.is_not(None),
)

leaders = Table(
    "leaders",
    metadata,
    _text("role", primary_key=True),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    _text("holder"),
    _stamp("since"),
)

runs = Table(
    "runs",
    metadata,
    _uuid("id", primary_key=True),
    _uuid("flow_id", nullable=False),
    _uuid("version_id", nullable=False),
    _text("trigger"),
    Column("inputs", JSON, nullable=False),
    _text("idempotency_key", nullable=True),
    _text("request_hash", nullable=True),
    _uuid("schedule_id"),
    _time("scheduled_for"),
    _stamp("created_at"),
    _text("created_by", nullable=True),
    _uuid("parent_run_id"),
    _text("parent_step", nullable=True),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    CheckConstraint("(parent_run_id IS NULL) = (parent_step IS NULL)", name="parent"),
    _uuid("rerun_of"),
    _text("traceparent", nullable=True),
    CheckConstraint("(schedule_id IS NULL) = (scheduled_for IS NULL)", name="schedule"),
)
Index(
    "runs_idempotency",
    runs.c.flow_id,
    runs.c.idempotency_key,
    unique=True,
    postgresql_where=runs.c.idempotency_key.is_not(None),
)
Index(
    "runs_fire",
    runs.c.schedule_id,
    runs.c.scheduled_for,
    unique=True,
    postgresql_where=runs.c.schedule_id.is_not(None),
)
Index("runs_flow", runs.c.flow_id, runs.c.id.desc())
Index("runs_parent", runs.c.parent_run_id, postgresql_where=runs.c.parent_run_id.is_not(None))

run_slots = Table(
    "run_slots",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("slot"),
    Index("run_slots_slot", "slot"),
)

approvals = Table(
    "approvals",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    Column("approved", Boolean, nullable=False),
    _text("decided_by"),
    _text("comment", server_default=text("''")),
    _stamp("decided_at"),
)

recordings = Table(
    "recordings",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("exchanges", JSON, nullable=False),
)

task_logs = Table(
    "task_logs",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("lines", JSON, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    _uuid("id", primary_key=True),
    _text("name"),
    Column("parts", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("queues", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("concurrency", Integer, nullable=False),
    _text("version"),
    Column("clock_ms", Double, nullable=False),
    _stamp("started_at"),
    _stamp("seen_at"),
    postgresql_with={"fillfactor": 50},
)

notification_rules = Table(
    "notification_rules",
    metadata,
    _uuid("source_id", ForeignKey("sync_sources.id"), primary_key=True),
    _text("name", primary_key=True),
    *_object("spec"),
)

# Not `run_id`: both have their own time to live, and a message about a run outlives it.
notification_events = Table(
    "notification_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _text("kind"),
    Column("about", JSONB, nullable=False),
    _stamp("at"),
)

notifications = Table(
    "notifications",
    metadata,
    _key(),
    _text("event"),
    _uuid("source_id"),
    _text("rule"),
    _text("kind"),
    Column("payload", JSON, nullable=False),
    _text("url"),
    _text("secret", nullable=True),
    _text("template"),
    _text("state", server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _time("due_at"),
    Column("status", Integer),
    _text("error", nullable=True),
    _stamp("created_at"),
    _time("ended_at"),
    UniqueConstraint("event", "source_id", "rule"),
    _one_of("state", "pending", "delivered", "failed"),
    CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="ended"),
    Index("notifications_due", "due_at", postgresql_where=text("state = 'pending'")),
    Index("notifications_created", "created_at", "id"),
)

run_results = Table(
    "run_results",
    metadata,
    _uuid("run_id", primary_key=True),
    _uuid("flow_id", nullable=False),
    _text("status"),
    _time("started_at", nullable=False),
    _stamp("finished_at"),
    Column("outputs", JSON),
    Column("error", JSON),
    _one_of("status", "SUCCEEDED", "FAILED", "CANCELLED"),
)
Index(
    "run_results_not_succeeded",
    run_results.c.status,
    run_results.c.run_id.desc(),
    postgresql_include=["flow_id"],
    postgresql_where=run_results.c.status != "SUCCEEDED",
)

tasks = Table(
    "tasks",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    _text("status"),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    _time("queued_at"),
    _time("started_at"),
    _stamp("finished_at"),
    _text("worker", nullable=True),
    Column("outputs", JSON),
    Column("error", JSON),
    _one_of("status", "SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED"),
)

task_attempts = Table(
    "task_attempts",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    _time("started_at"),
    _stamp("finished_at"),
    _text("worker", nullable=True),
    Column("error", JSON),
    _time("retry_at"),
)

run_attempts = Table(
    "run_attempts",
    metadata,
    _uuid("run_id", primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    _text("status"),
    _time("started_at", nullable=False),
    _time("finished_at", nullable=False),
    Column("error", JSON),
    Column("steps", ARRAY(Text)),
    _stamp("retried_at"),
    _text("retried_by", nullable=True),
    _one_of("status", "FAILED", "CANCELLED"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _uuid("run_id", nullable=False),
    _uuid("flow_id", nullable=False),
    _uuid("version_id", nullable=False),
    _text("step"),
    Column("attempts", Integer, nullable=False),
    _text("code"),
    Column("error", JSON),
    _text("state", server_default="open"),
    _stamp("created_at"),
    _time("resolved_at"),
    _text("resolved_by", nullable=True),
    _one_of("state", "open", "retried", "discarded"),
    CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="resolved"),
    Index("dead_letters_state", "state", "id"),
    Index("dead_letters_flow", "flow_id", "state", "id"),
    Index("dead_letters_run", "run_id", "step"),
)

task_queue = Table(
    "task_queue",
    metadata,
    _uuid("run_id", primary_key=True),
    _text("step", primary_key=True),
    _text("lane"),
    _time("ready_at", nullable=False),
    _stamp("queued_at"),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("losses", SmallInteger, nullable=False, server_default=text("0")),
    _uuid("fence"),
    _time("started_at"),
    _text("worker", nullable=True),
    _uuid("version_id", nullable=False),
    Column("reads", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("earlier", Integer, nullable=False, server_default=text("0")),
    Index("task_queue_ready", "lane", "ready_at"),
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5000,
        "autovacuum_vacuum_cost_delay": 0,
    },
)


def _holder(*columns: Any) -> tuple[Any, ...]:
    """Who somebody is that a token or a session lets in."""
    return (
        _text("name"),
        _text("mail"),
        _text("role"),
        *_object("labels", server_default=_EMPTY),
        _one_of("role", "viewer", "operator", "author", "reviewer", "admin"),
        *columns,
    )


access_tokens = Table(
    "access_tokens",
    metadata,
    _key(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    *_holder(_stamp("created_at"), _text("created_by"), _time("expires_at", nullable=False)),
    _time("revoked_at"),
    _time("used_at"),
    CheckConstraint("role <> 'admin' OR labels = '{}'", name="limit"),
)
Index("access_tokens_name", access_tokens.c.name, unique=True, postgresql_where=access_tokens.c.revoked_at.is_(None))

access_sessions = Table(
    "access_sessions",
    metadata,
    _key(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("former", LargeBinary, unique=True),
    _uuid("token_id", ForeignKey("access_tokens.id")),
    *_holder(_stamp("created_at"), _stamp("renewed_at"), _time("expires_at", nullable=False)),
    Column("basis", LargeBinary),
    Index("access_sessions_token", "token_id"),
    Index("access_sessions_expired", "expires_at"),
)

access_spent = Table(
    "access_spent",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    _time("expires_at", nullable=False),
    Index("access_spent_expired", "expires_at"),
)

access_secrets = Table(
    "access_secrets",
    metadata,
    _text("name", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _stamp("at"),
    _text("actor"),
    _text("role"),
    _uuid("token_id"),
    _text("address"),
    _text("request_id"),
    _text("action"),
    _text("object"),
    Column("before", JSON),
    Column("after", JSON),
    Index("audit_log_object", "object", "id"),
    Index("audit_log_actor", "actor", "id"),
)
