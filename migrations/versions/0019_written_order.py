"""What flows and schedules say in the order in which it was written, which `jsonb` does not keep.

Requests are made of it, and some are signed. Rows of before have none: what was sent of them had the order of `jsonb`.
"""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE flow_versions ADD COLUMN spec_written json, ADD COLUMN variables_written json")
    op.execute("ALTER TABLE schedules ADD COLUMN spec_written json")
