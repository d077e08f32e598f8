"""What a source has made current, and what hangs on it now: what a change is held to before it is merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from automata.store.database import Connection
from automata.store.pagination import Page, clamp, decode, page


@dataclass(frozen=True, slots=True)
class ProductionFlow:
    """A flow with its current version. `schedules`: [{name, origin, enabled, next_fire_at}], those of the API too.

    `active_runs` have not ended, of whatever version; `dead_letters` are open.
    """

    name: str
    version: int
    commit_sha: str | None
    spec: Mapping[str, Any]
    variables: Mapping[str, Any]
    active_runs: int
    dead_letters: int
    schedules: list[dict[str, Any]]


_LIVE = """
WITH chosen AS MATERIALIZED (
    SELECT flows.id, flows.name, flows.current_version_id FROM flows
    WHERE source_id = %(source)s AND archived_at IS NULL AND current_version_id IS NOT NULL AND name > %(after)s
      AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
    ORDER BY name LIMIT %(limit)s
),
-- The queue holds what is to come, and no more: an unfinished run has a row in it, one that has ended has none.
active AS (
    SELECT runs.flow_id, count(DISTINCT runs.id) AS runs FROM task_queue JOIN runs ON runs.id = task_queue.run_id
    WHERE runs.flow_id IN (SELECT id FROM chosen)
      AND NOT EXISTS (SELECT FROM run_results WHERE run_results.run_id = runs.id)
    GROUP BY 1
),
failed AS (
    SELECT flow_id, count(*) AS letters FROM dead_letters
    WHERE state = 'open' AND flow_id IN (SELECT id FROM chosen) GROUP BY 1
)
SELECT chosen.name, version.number AS version, version.commit_sha, version.spec, version.variables,
       coalesce(active.runs, 0) AS active_runs, coalesce(failed.letters, 0) AS dead_letters,
       coalesce((SELECT json_agg(json_build_object('name', name, 'origin', origin, 'enabled', enabled,
                                                   'next_fire_at', next_fire_at) ORDER BY name)
                 FROM schedules WHERE schedules.flow_id = chosen.id), '[]') AS schedules
FROM chosen
JOIN flow_versions AS version ON version.id = chosen.current_version_id
LEFT JOIN active ON active.flow_id = chosen.id
LEFT JOIN failed ON failed.flow_id = chosen.id
ORDER BY chosen.name
"""


async def production_flows(
    conn: Connection,
    source_id: UUID,
    *,
    names: Sequence[str] | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page[ProductionFlow]:
    """By name; `names` are the only ones that are meant, `after` is the cursor of the page before."""
    limit = clamp(limit)
    seen = decode(after, 1)[0] if after else ""
    async with conn.cursor(row_factory=class_row(ProductionFlow)) as cursor:
        await cursor.execute(
            _LIVE, {"source": source_id, "names": names and list(names), "after": seen, "limit": limit + 1}
        )
        return page(await cursor.fetchall(), limit, lambda row: (row.name,))
