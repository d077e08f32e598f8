"""Who leads, under which epoch, and why a schedule's last fire started nothing."""

from alembic import op

revision = "0002"
down_revision = "0001"

# One row a role. The epoch counts terms of office: a leader that was replaced while it slept finds another number.
LEADERS = """
CREATE TABLE leaders (
    role text NOT NULL CONSTRAINT leaders_pkey PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE schedules ADD COLUMN last_error text;
"""


def upgrade() -> None:
    op.execute(LEADERS)
