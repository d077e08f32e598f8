"""Who made and submitted a proposal and who reviewed it, by what let them in, and whom a provider has vouched for."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    # `token:UUID`, `oidc:…` and `mail:…` of all who made, changed or submitted it with a token or a session.
    op.execute("ALTER TABLE proposals ADD COLUMN makers text[] NOT NULL DEFAULT '{}'")
    # The same of who reviewed it; NULL where nobody asked who that was.
    op.execute("ALTER TABLE proposal_reviews ADD COLUMN identity text")
    # A session of the provider's ends within hours, and its writer's commits stay.
    op.execute(
        "CREATE TABLE access_people ("
        " mail text NOT NULL CONSTRAINT access_people_pkey PRIMARY KEY,"
        " first_at timestamptz NOT NULL DEFAULT now())"
    )
