"""Where a run's trace goes on from: the header of the request that started it, kept only where traces are on."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN traceparent text")
