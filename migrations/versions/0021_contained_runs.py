"""Whether a run above goes on when a run fails, and an end of the dead letters that nobody could retry."""

from alembic import op

revision = "0021"
down_revision = "0020"

# Letters of failures that their flow contained: the run succeeded, so they could only be discarded, and kept the run.
CONTAINED = """
UPDATE dead_letters SET state = 'discarded', resolved_at = now(), resolved_by = 'automata migrate'
FROM run_results WHERE run_results.run_id = dead_letters.run_id AND run_results.status = 'SUCCEEDED' AND state = 'open'
"""


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN contained boolean NOT NULL DEFAULT false")
    op.execute(CONTAINED)
