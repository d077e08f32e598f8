"""What a proposal was applied on: the check, the approvals that counted, and the commits that it brought."""

from alembic import op

revision = "0008"
down_revision = "0007"

# A version is found to be a proposal's by its commit, when somebody asks: a link that is written once is missed by a
# version that a later sync makes. Links that were written stay true as commits.
COMMITS = """
ALTER TABLE proposals
    ADD COLUMN commits text[] NOT NULL DEFAULT '{}',
    ADD COLUMN check_id bigint,
    ADD COLUMN review_ids bigint[] NOT NULL DEFAULT '{}';
UPDATE proposals SET commits = (
    SELECT coalesce(array_agg(DISTINCT version.commit_sha), '{}') FROM flow_versions AS version
    WHERE version.proposal_id = proposals.id AND version.commit_sha IS NOT NULL
);
CREATE INDEX proposals_commits ON proposals USING gin (commits);
ALTER TABLE flow_versions DROP COLUMN proposal_id;
"""


def upgrade() -> None:
    op.execute(COMMITS)
