"""When somebody asked for a look at a branch; what webhooks announce is told apart, since it says how often to look."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE sync_sources ADD COLUMN asked_at timestamptz")
