"""What attempts said."""

from alembic import op

revision = "0009"
down_revision = "0008"

# A table of its own: `tasks` stays as narrow as the runs that are listed from it need, and an attempt that says nothing
# costs nothing. `json`, because nothing looks inside.
LOGS = """
CREATE TABLE task_logs (
    run_id uuid NOT NULL,
    step text NOT NULL,
    attempt integer NOT NULL,
    lines json NOT NULL,
    CONSTRAINT task_logs_pkey PRIMARY KEY (run_id, step, attempt)
);
"""


def upgrade() -> None:
    op.execute(LOGS)
