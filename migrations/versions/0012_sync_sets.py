"""What each synced commit made current, hints of webhooks, and what the controller saw last."""

from alembic import op

revision = "0012"
down_revision = "0011"

# A set is what one sync left as current. Members are kept from the set that brought them until the one that took them
# away: a commit that changes one flow of ten thousand adds one row.
SETS = """
CREATE TABLE sync_sets (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT sync_sets_pkey PRIMARY KEY,
    source_id uuid NOT NULL CONSTRAINT sync_sets_source_id_fkey REFERENCES sync_sources (id),
    sha text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sync_sets_latest ON sync_sets (source_id, id);
CREATE TABLE sync_members (
    source_id uuid NOT NULL CONSTRAINT sync_members_source_id_fkey REFERENCES sync_sources (id),
    flow_id uuid NOT NULL CONSTRAINT sync_members_flow_id_fkey REFERENCES flows (id),
    from_set bigint NOT NULL,
    until_set bigint,
    version_id uuid NOT NULL CONSTRAINT sync_members_version_id_fkey REFERENCES flow_versions (id),
    name text NOT NULL,
    CONSTRAINT sync_members_pkey PRIMARY KEY (source_id, flow_id, from_set),
    CONSTRAINT sync_members_order_check CHECK (until_set > from_set)
);
CREATE INDEX sync_members_until ON sync_members (source_id, until_set);
"""

# What was synced before this migration can be rolled back to as far as it is known: to where it stands.
STANDING = """
INSERT INTO sync_sets (source_id, sha) SELECT id, head_sha FROM sync_sources WHERE head_sha IS NOT NULL ORDER BY id;
INSERT INTO sync_members (source_id, flow_id, from_set, version_id, name)
    SELECT flows.source_id, flows.id, sync_sets.id, flows.current_version_id, flows.name
    FROM flows JOIN sync_sets ON sync_sets.source_id = flows.source_id
    WHERE flows.archived_at IS NULL AND flows.current_version_id IS NOT NULL;
"""

SOURCES = """
ALTER TABLE sync_sources
    ADD COLUMN heal boolean NOT NULL DEFAULT false,
    ADD COLUMN pinned_at timestamptz,
    ADD COLUMN pinned_by text,
    ADD COLUMN pinned_reason text,
    ADD COLUMN hinted_at timestamptz,
    ADD COLUMN seen_sha text,
    ADD COLUMN seen_at timestamptz,
    ADD COLUMN drift json,
    ADD COLUMN drift_at timestamptz,
    ADD CONSTRAINT sync_sources_pinned_check CHECK ((pinned_at IS NULL) = (pinned_by IS NULL));
ALTER TABLE sync_attempts
    DROP CONSTRAINT sync_attempts_status_check,
    ADD CONSTRAINT sync_attempts_status_check
        CHECK (status IN ('synced', 'unchanged', 'failed', 'refused', 'healed', 'rolled_back'));
"""

# `key` is what one delivery is known by; kept for as long as it could be sent again unchanged.
HINTS = """
CREATE TABLE sync_deliveries (
    key text CONSTRAINT sync_deliveries_pkey PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sync_deliveries_received ON sync_deliveries (received_at);
"""


def upgrade() -> None:
    op.execute(SETS)
    op.execute(STANDING)
    op.execute(SOURCES)
    op.execute(HINTS)
