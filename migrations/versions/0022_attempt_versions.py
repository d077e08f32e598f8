"""By which version an attempt of a run went, where a later one goes by another; NULL: by that of the run."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute("ALTER TABLE run_attempts ADD COLUMN version_id uuid")
