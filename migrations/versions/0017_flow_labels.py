"""Which flows bear some labels: asked with nearly every statement for somebody who is limited to them."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("CREATE INDEX flows_labels ON flows USING gin (labels jsonb_path_ops)")
