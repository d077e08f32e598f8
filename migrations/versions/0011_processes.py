"""Which processes are up, as each says itself every few seconds."""

from alembic import op

revision = "0011"
down_revision = "0010"

PROCESSES = """
CREATE TABLE processes (
    id uuid NOT NULL CONSTRAINT processes_pkey PRIMARY KEY,
    name text NOT NULL,
    parts text[] NOT NULL DEFAULT '{}',
    queues text[] NOT NULL DEFAULT '{}',
    concurrency integer NOT NULL,
    version text NOT NULL,
    clock_ms double precision NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    op.execute(PROCESSES)
