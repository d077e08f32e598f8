"""Which runs hold a place of a flow's `concurrency`."""

from alembic import op

revision = "0004"
down_revision = "0003"

SLOTS = """
CREATE TABLE run_slots (
    run_id uuid NOT NULL CONSTRAINT run_slots_pkey PRIMARY KEY,
    slot text NOT NULL
);
CREATE INDEX run_slots_slot ON run_slots (slot);
"""


def upgrade() -> None:
    op.execute(SLOTS)
