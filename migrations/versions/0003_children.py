"""Runs that a step started, and what people decided about steps that asked."""

from alembic import op

revision = "0003"
down_revision = "0002"

CHILDREN = """
ALTER TABLE runs ADD COLUMN parent_run_id uuid, ADD COLUMN parent_step text,
    ADD COLUMN depth smallint NOT NULL DEFAULT 0,
    ADD CONSTRAINT runs_parent_check CHECK ((parent_run_id IS NULL) = (parent_step IS NULL));
CREATE TABLE approvals (
    run_id uuid NOT NULL,
    step text NOT NULL,
    approved boolean NOT NULL,
    decided_by text NOT NULL,
    comment text NOT NULL DEFAULT '',
    decided_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT approvals_pkey PRIMARY KEY (run_id, step)
);
"""


def upgrade() -> None:
    op.execute(CHILDREN)
