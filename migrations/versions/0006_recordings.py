"""Requests and answers of runs whose version says that they are kept: the evidence that a replay goes by."""

from alembic import op

revision = "0006"
down_revision = "0005"

# `json`, not `jsonb`: nothing looks inside, and a body may hold the one character that jsonb refuses.
RECORDINGS = """
CREATE TABLE recordings (
    run_id uuid NOT NULL,
    step text NOT NULL,
    attempt integer NOT NULL,
    exchanges json NOT NULL,
    CONSTRAINT recordings_pkey PRIMARY KEY (run_id, step, attempt)
);
"""

# Only runs that a step started are in it, so it costs the others nothing.
CHILDREN = "CREATE INDEX runs_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL;"


def upgrade() -> None:
    op.execute(RECORDINGS)
    op.execute(CHILDREN)
