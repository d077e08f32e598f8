"""What is secret of runs that call each other: a value that one of them hides may stand anywhere in the others.

A run hands values down as inputs and up as outputs, and what is secret on one side need not be on the other. So the
runs of a whole tree, from the one that nobody called, share what nobody is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, LiteralString
from uuid import UUID

from automata.flow.model import Flow
from automata.flow.plan import item_of
from automata.flow.secret_outputs import secret_values
from automata.flow.secret_reads import secret_outputs_of
from automata.store.database import Connection

# `asked` is one of the runs that were asked for, `id` each run of its tree. Both ways go by an index, a run at a time.
_TREES: LiteralString = (
    "WITH RECURSIVE above AS ("
    "  SELECT id AS asked, id, parent_run_id, 0 AS height FROM runs WHERE id = ANY(%(runs)s)"
    "  UNION ALL SELECT above.asked, parent.id, parent.parent_run_id, height + 1"
    "  FROM above JOIN runs AS parent ON parent.id = above.parent_run_id"
    "), tree AS ("
    "  (SELECT DISTINCT ON (asked) asked, id FROM above ORDER BY asked, height DESC)"
    "  UNION ALL SELECT tree.asked, child.id FROM tree JOIN runs AS child ON child.parent_run_id = tree.id"
    ") "
)
_VERSIONS: LiteralString = (
    "SELECT id, spec FROM flow_versions"
    " WHERE id IN (SELECT DISTINCT runs.version_id FROM tree JOIN runs USING (id))"
    "   AND spec @? '$.**.secret ? (@ == true)'"
)
_VALUES: LiteralString = (
    "SELECT tree.asked, runs.version_id, held.step, held.outputs FROM tree JOIN runs USING (id) CROSS JOIN LATERAL ("
    "  SELECT step, outputs FROM tasks WHERE tasks.run_id = runs.id AND outputs IS NOT NULL"
    "  UNION ALL SELECT '', outputs FROM run_results AS result WHERE result.run_id = runs.id AND outputs IS NOT NULL"
    "  UNION ALL SELECT NULL, runs.inputs"
    ") AS held"
    " WHERE runs.version_id = ANY(%(versions)s)"
    "   AND (held.step IS NULL OR split_part(held.step, '[', 1) = ANY(%(steps)s))"
)


async def secret_values_around(conn: Connection, runs: Collection[UUID]) -> dict[UUID, list[Any]]:
    """By run, the values that are secret in any run of its tree; no entry for a run that has none.

    They are JSON values as they are stored: secret inputs, secret outputs of steps, of their items, and of flows.
    """
    values: dict[UUID, list[Any]] = {}
    cursor = await conn.execute(_TREES + _VERSIONS, {"runs": list(runs)}, prepare=False)
    flows = {id: Flow.from_spec(spec) for id, spec in await cursor.fetchall()}
    if not flows:
        return values
    outputs = {id: secret_outputs_of(flow) for id, flow in flows.items()}
    inputs = {id: frozenset(input.name for input in flow.inputs if input.secret) for id, flow in flows.items()}
    steps = {step for names in outputs.values() for step in names}
    given = {"runs": list(runs), "versions": list(flows), "steps": list(steps)}
    cursor = await conn.execute(_TREES + _VALUES, given, prepare=False)
    for run, version, step, held in await cursor.fetchall():
        names = inputs[version] if step is None else _names(outputs[version], step)
        values.setdefault(run, []).extend(secret_values(names, held))
    return values


def _names(outputs: Mapping[str, frozenset[str]], step: str) -> frozenset[str]:
    item = item_of(step)
    return outputs.get(item[0] if item else step, frozenset())
