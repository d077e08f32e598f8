"""Sessions that a provider's word opened, and sign-ins that were used up."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    # What a session rests on where no token opened it: other settings of the provider, and it is none.
    op.execute("ALTER TABLE access_sessions ADD COLUMN basis bytea")
    op.execute(
        "CREATE TABLE access_spent ("
        " hash bytea NOT NULL CONSTRAINT access_spent_pkey PRIMARY KEY,"
        " expires_at timestamptz NOT NULL)"
    )
    op.execute("CREATE INDEX access_spent_expired ON access_spent (expires_at)")
