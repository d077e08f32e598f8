"""Proposals: changes on branches, what checks said of them, and who approved what exactly."""

from alembic import op

revision = "0007"
down_revision = "0006"

# A branch has one open proposal; ended ones stay as history. `merge_sha` is the commit that applied it.
PROPOSALS = """
CREATE TABLE proposals (
    id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT proposals_pkey PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT proposals_number_key UNIQUE,
    source_id uuid NOT NULL CONSTRAINT proposals_source_id_fkey REFERENCES sync_sources (id),
    branch text NOT NULL,
    title text NOT NULL,
    author text NOT NULL,
    state text NOT NULL DEFAULT 'DRAFT',
    head_sha text NOT NULL,
    merge_sha text,
    ended_by text,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT proposals_state_check CHECK (state IN ('DRAFT', 'PENDING_REVIEW', 'APPLIED', 'REJECTED', 'CLOSED')),
    CONSTRAINT proposals_ended_check CHECK ((state IN ('DRAFT', 'PENDING_REVIEW')) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX proposals_open ON proposals (source_id, branch) WHERE ended_at IS NULL;
CREATE INDEX proposals_ended ON proposals (source_id, branch) WHERE ended_at IS NOT NULL;
ALTER TABLE flow_versions ADD COLUMN proposal_id uuid;
"""

# Both are bound to what was looked at: whatever of the four differs later, they say nothing about it.
CHECKS = """
CREATE TABLE proposal_checks (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT proposal_checks_pkey PRIMARY KEY,
    proposal_id uuid NOT NULL CONSTRAINT proposal_checks_proposal_id_fkey REFERENCES proposals (id),
    head text NOT NULL,
    base text NOT NULL,
    tree text NOT NULL,
    policy text NOT NULL,
    passed boolean NOT NULL,
    report json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX proposal_checks_proposal ON proposal_checks (proposal_id, id);
CREATE TABLE proposal_reviews (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT proposal_reviews_pkey PRIMARY KEY,
    proposal_id uuid NOT NULL CONSTRAINT proposal_reviews_proposal_id_fkey REFERENCES proposals (id),
    head text NOT NULL,
    base text NOT NULL,
    tree text NOT NULL,
    policy text NOT NULL,
    approved boolean NOT NULL,
    by text NOT NULL,
    comment text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX proposal_reviews_proposal ON proposal_reviews (proposal_id, id);
"""


def upgrade() -> None:
    op.execute(PROPOSALS)
    op.execute(CHECKS)
