"""By which version an attempt of a run went, where a later one goes by another, and which steps that one changed."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    # NULL: it went by the version of the run, and the attempt after it does too.
    op.execute("ALTER TABLE run_attempts ADD COLUMN version_id uuid, ADD COLUMN changed text[]")
