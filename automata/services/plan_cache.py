"""Compiled versions by id. A version never changes, so what is cached here never goes stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import LRUCache

from automata.errors import AutomataError, Invalid
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import ExecutionPlan
from automata.store.database import Database
from automata.store.flows import VersionRow, versions_by_id

MAX_PLANS = 5_000


@dataclass(frozen=True, slots=True)
class CompiledVersion:
    """`plan` is None when a stored version cannot be executed here; `error` then says why."""

    flow: str
    number: int
    variables: Mapping[str, Any]
    plan: ExecutionPlan | None
    error: Invalid | None = None


_GONE = CompiledVersion("?", 0, {}, None, Invalid("its version is not in the database", code="bad_version"))


class PlanCache:
    """One for a process; bounded by MAX_PLANS."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: LRUCache[UUID, CompiledVersion] = LRUCache(MAX_PLANS)

    async def get(self, ids: Iterable[UUID]) -> Mapping[UUID, CompiledVersion]:
        """All of `ids`; those not known yet are read in one query and compiled."""
        # Collected before anything is added: what is new may push out what was asked for as well.
        plans = {id: self._known.get(id, _GONE) for id in set(ids)}
        if missing := [id for id, compiled in plans.items() if compiled is _GONE]:
            async with self._db.connection() as conn:
                rows = await versions_by_id(conn, missing)
            compiled = {row.id: _compile(row) for row in rows}
            self._known.update(compiled)
            plans |= compiled
        return plans


def _compile(row: VersionRow) -> CompiledVersion:
    try:
        return CompiledVersion(row.flow_name, row.number, row.variables, compile_flow(Flow.from_spec(row.spec)))
    except (AutomataError, KeyError, TypeError, ValueError) as error:
        reason = Invalid(f"version {row.number} of {row.flow_name!r} cannot be executed: {error}", code="bad_version")
        return CompiledVersion(row.flow_name, row.number, row.variables, None, reason)
