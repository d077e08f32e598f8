"""Runs and letters that were written before 0021, as they would be written now; and no alarm for a contained failure.

Before, a `flow` step that failed left a letter beside that of its run, a failure that a flow contained left one too,
and a retry of the run above started another run for the step, while the letter of the first one stayed open. Retried
all together they made calls twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alembic import op
from sqlalchemy import Connection, text

revision = "0023"
down_revision = "0022"

QUIET = """
CREATE OR REPLACE FUNCTION notification_event_run_results() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO notification_events (kind, about)
    SELECT 'run.failed', jsonb_build_object('run', NEW.run_id)
    WHERE EXISTS (SELECT FROM notification_rules) AND NOT (SELECT contained FROM runs WHERE id = NEW.run_id);
    RETURN NULL;
END
$body$;
"""

# What may still be retried, or fail: runs that a step started, without an end or with an open letter. Those above come
# first, since what they contain is contained below them too.
CHILDREN = """
SELECT child.id, child.parent_step, above.contained, version.id AS version, version.spec
FROM runs AS child
JOIN runs AS above ON above.id = child.parent_run_id JOIN flow_versions AS version ON version.id = above.version_id
WHERE NOT child.contained AND child.depth = :depth
  AND (NOT EXISTS (SELECT FROM run_results WHERE run_id = child.id)
       OR EXISTS (SELECT FROM dead_letters WHERE run_id = child.id AND state = 'open'))
"""
CONTAIN = "UPDATE runs SET contained = true WHERE id = ANY(:ids)"
CLOSE_CONTAINED = """
UPDATE dead_letters SET state = 'discarded', resolved_at = now(), resolved_by = 'automata migrate'
WHERE state = 'open' AND run_id = ANY(:ids)
"""
# A later run was started for the step, or for one above.
CLOSE_SUPERSEDED = """
WITH RECURSIVE superseded AS (
    SELECT child.id FROM runs AS child
    WHERE child.parent_run_id IS NOT NULL AND EXISTS (
        SELECT FROM runs AS later WHERE later.parent_run_id = child.parent_run_id
           AND later.parent_step = child.parent_step AND later.created_at > child.created_at)
    UNION SELECT below.id FROM superseded JOIN runs AS below ON below.parent_run_id = superseded.id
)
UPDATE dead_letters SET state = 'discarded', resolved_at = now(), resolved_by = 'automata migrate'
WHERE state = 'open' AND run_id IN (SELECT id FROM superseded)
"""
# The run that the step waited for has a letter of its own, by which both go on.
CLOSE_PAIRED = """
UPDATE dead_letters SET state = 'discarded', resolved_at = now(), resolved_by = 'automata migrate'
WHERE state = 'open' AND code IN ('child_failed', 'child_cancelled')
  AND EXISTS (SELECT FROM runs AS child JOIN dead_letters AS own ON own.run_id = child.id AND own.state = 'open'
              WHERE child.parent_run_id = dead_letters.run_id AND child.parent_step = dead_letters.step)
"""


def upgrade() -> None:
    op.execute(QUIET)
    conn = op.get_bind()
    deepest = conn.execute(text("SELECT coalesce(max(depth), 0) FROM runs")).scalar_one()
    for depth in range(1, deepest + 1):
        contain_failures(conn, depth)
    conn.execute(text(CLOSE_SUPERSEDED))
    conn.execute(text(CLOSE_PAIRED))


def contain_failures(conn: Connection, depth: int) -> None:
    """Mark the runs so many calls deep whose failure is contained, and close their letters."""
    containing: dict[Any, dict[str, bool]] = {}
    ids = []
    for child in conn.execute(text(CHILDREN), {"depth": depth}):
        if child.version not in containing:
            containing[child.version] = dict(waiting_steps(child.spec))
        contained = containing[child.version].get(child.parent_step.partition("[")[0])
        if contained is not None and (contained or child.contained):
            ids.append(child.id)
    if ids:
        conn.execute(text(CONTAIN), {"ids": ids})
        conn.execute(text(CLOSE_CONTAINED), {"ids": ids})


def waiting_steps(spec: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(full id, whether the flow goes on when it fails) of the steps that wait for a run, as flows were in 0022."""
    failure = spec.get("on_failure")
    yield from _walk([*spec["steps"], *([failure] if failure else [])], "", contained=False)


def _walk(steps: list[Mapping[str, Any]], prefix: str, *, contained: bool) -> Iterator[tuple[str, bool]]:
    for step in steps:
        full, goes_on = prefix + step["id"], contained or bool(step.get("continue_on_error"))
        if step["type"] == "flow" and step["config"].get("wait", True):
            yield full, goes_on
        for branch in step.get("branches", ()):
            yield from _walk(branch["steps"], f"{full}.{branch['id']}.", contained=goes_on)
