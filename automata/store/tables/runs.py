"""Runs and their tasks: the queue, results, attempts, and what is kept of each."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from automata.store.tables.columns import EMPTY, metadata, one_of, stamp_column, text_column, time_column, uuid_column

runs = Table(
    "runs",
    metadata,
    uuid_column("id", primary_key=True),
    uuid_column("flow_id", nullable=False),
    uuid_column("version_id", nullable=False),
    text_column("trigger"),
    Column("inputs", JSON, nullable=False),
    text_column("idempotency_key", nullable=True),
    text_column("request_hash", nullable=True),
    uuid_column("schedule_id"),
    time_column("scheduled_for"),
    stamp_column("created_at"),
    text_column("created_by", nullable=True),
    uuid_column("parent_run_id"),
    text_column("parent_step", nullable=True),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    CheckConstraint("(parent_run_id IS NULL) = (parent_step IS NULL)", name="parent"),
    uuid_column("rerun_of"),
    text_column("traceparent", nullable=True),
    Column("contained", Boolean, nullable=False, server_default=text("false")),
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
# The predicate always holds; it keeps this index out of plans that look a run up by its id (migration 0020).
Index("runs_by_flow", runs.c.flow_id, runs.c.id.desc(), postgresql_where=runs.c.flow_id.is_not(None))
Index("runs_parent", runs.c.parent_run_id, postgresql_where=runs.c.parent_run_id.is_not(None))

run_slots = Table(
    "run_slots",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("slot"),
    Index("run_slots_slot", "slot"),
)

approvals = Table(
    "approvals",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    Column("approved", Boolean, nullable=False),
    text_column("decided_by"),
    text_column("comment", server_default=text("''")),
    stamp_column("decided_at"),
)

recordings = Table(
    "recordings",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("exchanges", JSON, nullable=False),
)

task_logs = Table(
    "task_logs",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("lines", JSON, nullable=False),
)

run_results = Table(
    "run_results",
    metadata,
    uuid_column("run_id", primary_key=True),
    uuid_column("flow_id", nullable=False),
    text_column("status"),
    time_column("started_at", nullable=False),
    stamp_column("finished_at"),
    Column("outputs", JSON),
    Column("error", JSON),
    one_of("status", "SUCCEEDED", "FAILED", "CANCELLED"),
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
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    text_column("status"),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    time_column("queued_at"),
    time_column("started_at"),
    stamp_column("finished_at"),
    text_column("worker", nullable=True),
    Column("outputs", JSON),
    Column("error", JSON),
    one_of("status", "SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED"),
)

task_attempts = Table(
    "task_attempts",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    time_column("started_at"),
    stamp_column("finished_at"),
    text_column("worker", nullable=True),
    Column("error", JSON),
    time_column("retry_at"),
)

run_attempts = Table(
    "run_attempts",
    metadata,
    uuid_column("run_id", primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    text_column("status"),
    time_column("started_at", nullable=False),
    time_column("finished_at", nullable=False),
    Column("error", JSON),
    Column("steps", ARRAY(Text)),
    stamp_column("retried_at"),
    text_column("retried_by", nullable=True),
    uuid_column("version_id"),
    Column("changed", ARRAY(Text)),
    one_of("status", "FAILED", "CANCELLED"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    uuid_column("run_id", nullable=False),
    uuid_column("flow_id", nullable=False),
    uuid_column("version_id", nullable=False),
    text_column("step"),
    Column("attempts", Integer, nullable=False),
    text_column("code"),
    Column("error", JSON),
    text_column("state", server_default="open"),
    stamp_column("created_at"),
    time_column("resolved_at"),
    text_column("resolved_by", nullable=True),
    one_of("state", "open", "retried", "discarded"),
    CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="resolved"),
    Index("dead_letters_state", "state", "id"),
    Index("dead_letters_flow", "flow_id", "state", "id"),
    Index("dead_letters_run", "run_id", "step"),
)

task_queue = Table(
    "task_queue",
    metadata,
    uuid_column("run_id", primary_key=True),
    text_column("step", primary_key=True),
    text_column("lane"),
    time_column("ready_at", nullable=False),
    stamp_column("queued_at"),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("losses", SmallInteger, nullable=False, server_default=text("0")),
    uuid_column("fence"),
    time_column("started_at"),
    text_column("worker", nullable=True),
    uuid_column("version_id", nullable=False),
    Column("reads", ARRAY(Text), nullable=False, server_default=EMPTY),
    Column("earlier", Integer, nullable=False, server_default=text("0")),
    Index("task_queue_ready", "lane", "ready_at"),
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 5000,
        "autovacuum_vacuum_cost_delay": 0,
    },
)
