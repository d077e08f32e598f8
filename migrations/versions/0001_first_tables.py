"""The first tables: flows and versions, the insert-only history, and the queue of what still moves."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE sync_sources (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT sync_sources_pkey PRIMARY KEY,
    url text NOT NULL,
    path text NOT NULL DEFAULT '',
    branch text NOT NULL,
    environment text NOT NULL,
    head_sha text,
    tree_sha text,
    synced_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sync_sources_url_path_environment_key UNIQUE (url, path, environment)
);

CREATE TABLE sync_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT sync_attempts_pkey PRIMARY KEY,
    source_id uuid NOT NULL CONSTRAINT sync_attempts_source_id_fkey REFERENCES sync_sources (id),
    sha text,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    plan json,
    error json,
    CONSTRAINT sync_attempts_status_check CHECK (status IN ('synced', 'unchanged', 'failed', 'refused'))
);
CREATE INDEX sync_attempts_latest ON sync_attempts (source_id, id);

CREATE TABLE flows (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT flows_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT flows_name_key UNIQUE,
    source_id uuid CONSTRAINT flows_source_id_fkey REFERENCES sync_sources (id),
    current_version_id uuid,
    labels jsonb NOT NULL DEFAULT '{}',
    archived_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT flows_name_check CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,99}$'),
    CONSTRAINT flows_labels_check CHECK (jsonb_typeof(labels) = 'object')
);
CREATE INDEX flows_source ON flows (source_id);

CREATE TABLE flow_versions (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT flow_versions_pkey PRIMARY KEY,
    flow_id uuid NOT NULL CONSTRAINT flow_versions_flow_id_fkey REFERENCES flows (id),
    number integer NOT NULL,
    content_hash text NOT NULL,
    spec jsonb NOT NULL,
    variables jsonb NOT NULL DEFAULT '{}',
    commit_sha text,
    path text,
    author text,
    message text,
    committed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT flow_versions_flow_id_number_key UNIQUE (flow_id, number),
    CONSTRAINT flow_versions_flow_id_content_hash_key UNIQUE (flow_id, content_hash),
    CONSTRAINT flow_versions_number_check CHECK (number > 0),
    CONSTRAINT flow_versions_spec_check CHECK (jsonb_typeof(spec) = 'object'),
    CONSTRAINT flow_versions_variables_check CHECK (jsonb_typeof(variables) = 'object')
);
ALTER TABLE flows ADD CONSTRAINT flows_current_version_id_fkey
    FOREIGN KEY (current_version_id) REFERENCES flow_versions (id);

CREATE TABLE schedules (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT schedules_pkey PRIMARY KEY,
    flow_id uuid NOT NULL CONSTRAINT schedules_flow_id_fkey REFERENCES flows (id),
    name text NOT NULL,
    origin text NOT NULL,
    spec jsonb NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    next_fire_at timestamptz,
    last_fire_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedules_flow_id_name_key UNIQUE (flow_id, name),
    CONSTRAINT schedules_origin_check CHECK (origin IN ('git', 'api')),
    CONSTRAINT schedules_spec_check CHECK (jsonb_typeof(spec) = 'object')
);
CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;
"""

# No foreign keys on the hot tables: each would cost a lookup and a row lock an insert, and versions are never deleted.
HISTORY = """
CREATE TABLE runs (
    id uuid NOT NULL CONSTRAINT runs_pkey PRIMARY KEY,
    flow_id uuid NOT NULL,
    version_id uuid NOT NULL,
    trigger text NOT NULL,
    inputs json NOT NULL,
    idempotency_key text,
    request_hash text,
    schedule_id uuid,
    scheduled_for timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text,
    CONSTRAINT runs_schedule_check CHECK ((schedule_id IS NULL) = (scheduled_for IS NULL))
);
CREATE UNIQUE INDEX runs_idempotency ON runs (flow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX runs_fire ON runs (schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;
CREATE INDEX runs_flow ON runs (flow_id, id DESC);

CREATE TABLE run_results (
    run_id uuid NOT NULL CONSTRAINT run_results_pkey PRIMARY KEY,
    flow_id uuid NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    outputs json,
    error json,
    CONSTRAINT run_results_status_check CHECK (status IN ('SUCCEEDED', 'FAILED', 'CANCELLED'))
);
CREATE INDEX run_results_not_succeeded ON run_results (status, run_id DESC) INCLUDE (flow_id)
    WHERE status <> 'SUCCEEDED';

CREATE TABLE tasks (
    run_id uuid NOT NULL,
    step text NOT NULL,
    status text NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now(),
    worker text,
    outputs json,
    error json,
    CONSTRAINT tasks_pkey PRIMARY KEY (run_id, step),
    CONSTRAINT tasks_status_check CHECK (status IN ('SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED'))
);

CREATE TABLE task_attempts (
    run_id uuid NOT NULL,
    step text NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now(),
    worker text,
    error json,
    retry_at timestamptz,
    CONSTRAINT task_attempts_pkey PRIMARY KEY (run_id, step, attempt)
);
"""

# The only table whose rows change and go. It stays a few pages long: room for HOT updates, and a vacuum that comes
# by count and does not pause, since a share of the rows means nothing for a queue that is empty most of the time.
QUEUE = """
CREATE TABLE task_queue (
    run_id uuid NOT NULL,
    step text NOT NULL,
    lane text NOT NULL,
    ready_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now(),
    attempt integer NOT NULL DEFAULT 1,
    losses smallint NOT NULL DEFAULT 0,
    fence uuid,
    started_at timestamptz,
    worker text,
    version_id uuid NOT NULL,
    reads text[] NOT NULL DEFAULT '{}',
    CONSTRAINT task_queue_pkey PRIMARY KEY (run_id, step)
) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000,
        autovacuum_vacuum_cost_delay=0);
CREATE INDEX task_queue_ready ON task_queue (lane, ready_at);
"""


def upgrade() -> None:
    for script in (TABLES, HISTORY, QUEUE):
        op.execute(script)
