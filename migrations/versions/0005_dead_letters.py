"""Dead letters, what a run came to before it was retried, and where a run that starts another again came from."""

from alembic import op

revision = "0005"
down_revision = "0004"

# Rows come when a step fails for good: rare, so indexes that people's questions walk cost the hot path nothing.
DEAD_LETTERS = """
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT dead_letters_pkey PRIMARY KEY,
    run_id uuid NOT NULL,
    flow_id uuid NOT NULL,
    version_id uuid NOT NULL,
    step text NOT NULL,
    attempts integer NOT NULL,
    code text NOT NULL,
    error json,
    state text NOT NULL DEFAULT 'open',
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolved_by text,
    CONSTRAINT dead_letters_state_check CHECK (state IN ('open', 'retried', 'discarded')),
    CONSTRAINT dead_letters_resolved_check CHECK ((state = 'open') = (resolved_at IS NULL))
);
CREATE INDEX dead_letters_state ON dead_letters (state, id);
CREATE INDEX dead_letters_flow ON dead_letters (flow_id, state, id);
CREATE INDEX dead_letters_run ON dead_letters (run_id, step);
"""

# The attempts of a run before the last one, as task_attempts has them of a step: `runs` itself stays insert-only.
# `steps`: what the attempt after this one was for; NULL for all that had failed.
RUN_ATTEMPTS = """
CREATE TABLE run_attempts (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    error json,
    steps text[],
    retried_at timestamptz NOT NULL DEFAULT now(),
    retried_by text,
    CONSTRAINT run_attempts_pkey PRIMARY KEY (run_id, attempt),
    CONSTRAINT run_attempts_status_check CHECK (status IN ('FAILED', 'CANCELLED'))
);
"""

# `earlier`: attempts of the step that earlier attempts of its run made; the retry policy counts from there.
COLUMNS = """
ALTER TABLE task_queue ADD COLUMN earlier integer NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN rerun_of uuid;
"""


def upgrade() -> None:
    for script in (DEAD_LETTERS, RUN_ATTEMPTS, COLUMNS):
        op.execute(script)
