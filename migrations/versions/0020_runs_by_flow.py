"""The index of runs by flow serves whoever asks for a flow, and nobody who asks for a run by its id.

While statistics say that `runs` is empty all its indexes cost the same, and the plan that is kept may walk the whole of
this one for each id. A predicate that always holds takes it from such plans: `flow_id = …` implies it, `id = …` not.

Made beside the traffic, so not in one transaction: what an upgrade that was killed left of it is made anew.
"""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # Both wait for transactions that are open, and nobody waits for them meanwhile.
        op.execute("SET lock_timeout = '10min'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_by_flow")
        op.execute("CREATE INDEX CONCURRENTLY runs_by_flow ON runs (flow_id, id DESC) WHERE flow_id IS NOT NULL")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_flow")
        op.execute("SET lock_timeout = '10s'")
