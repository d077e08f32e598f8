"""Where versions come from: the commit, the proposal that brought it, and its check and reviews before the merge.

A proposal is found by the commits that it brought, whenever somebody asks: it does not matter which was first, the
version or the word that the proposal was applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from automata.store.database import Connection


@dataclass(frozen=True, slots=True)
class VersionOrigin:
    """Of one version. All that is of a proposal is None when none brought the commit.

    `applied_by` None: it was merged with Git. `check`: {id, passed, at, failed, stages: [{name, state, summary}]};
    `approvals`: [{by, comment, at}]. Both are of exactly the merge that was made, or not there.
    """

    version_id: UUID
    commit_sha: str | None
    source: str | None
    proposal: int | None
    title: str | None
    branch: str | None
    proposed_by: str | None
    head_sha: str | None
    merge_sha: str | None
    applied_by: str | None
    applied_at: datetime | None
    check: Any
    approvals: Any


_ORIGINS = sql.SQL("""
SELECT version.id AS version_id, version.commit_sha, sync_sources.url AS source,
       proposal.number AS proposal, proposal.title, proposal.branch, proposal.author AS proposed_by,
       proposal.head_sha, proposal.merge_sha,
       proposal.ended_by AS applied_by, proposal.ended_at AS applied_at,
       (SELECT json_build_object('id', id, 'passed', passed, 'at', created_at,
                                 'failed', coalesce(report -> 'failed', '[]'),
                                 'stages', (SELECT json_agg(json_build_object('name', stage -> 'name',
                                                                              'state', stage -> 'state',
                                                                              'summary', stage -> 'summary'))
                                            FROM json_array_elements(report -> 'stages') AS stage))
        FROM proposal_checks WHERE id = proposal.check_id) AS check,
       (SELECT json_agg(json_build_object('by', by, 'comment', comment, 'at', created_at) ORDER BY id)
        FROM proposal_reviews WHERE id = ANY(proposal.review_ids)) AS approvals
FROM flow_versions AS version
JOIN flows ON flows.id = version.flow_id
LEFT JOIN LATERAL (
    SELECT * FROM proposals
    WHERE commits @> ARRAY[version.commit_sha]
    -- A commit comes into each branch once; of several environments the flow's own counts.
    ORDER BY source_id = flows.source_id DESC, number LIMIT 1
) AS proposal ON true
LEFT JOIN sync_sources ON sync_sources.id = coalesce(proposal.source_id, flows.source_id)
WHERE version.id = ANY(%s::uuid[])
""")


async def version_origins(conn: Connection, version_ids: Iterable[UUID]) -> dict[UUID, VersionOrigin]:
    """By version; those that do not exist are left out."""
    async with conn.cursor(row_factory=class_row(VersionOrigin)) as cursor:
        await cursor.execute(_ORIGINS, [list(version_ids)])
        return {row.version_id: row for row in await cursor.fetchall()}
