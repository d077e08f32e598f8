"""Flows and versions by name: flows are read for every request, versions once, because they never change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from cachetools import LRUCache

from automata.errors import Conflict, Missing
from automata.flow.model import Flow, Input
from automata.flow.plan import item_of
from automata.operations.batcher import Batcher
from automata.store.database import Connection, Database
from automata.store.flow_visibility import as_viewer, viewer_labels
from automata.store.flows import FlowRow, VersionRow, find_flow, get_version, versions_by_id
from automata.store.inbound_webhooks import WebhookTarget, webhook_targets

MAX_VERSIONS = 5000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_ITEM = re.compile(r"\[\d{1,9}\]$")
MAX_BATCH = 100  # names of one batch; a longer one would make the first of it wait for the last


@dataclass(frozen=True, slots=True)
class StepPosition:
    """The place of a step: `index` in the order of the file, parents first; `parent` is the group's full id."""

    index: int
    type: str
    name: str
    parent: str | None


_NOWHERE = StepPosition(index=2**31 - 1, type="", name="", parent=None)


@dataclass(frozen=True, slots=True)
class Version:
    """What requests need of a version, read from its spec once."""

    id: UUID
    number: int
    commit_sha: str | None
    inputs: Mapping[str, Input]
    declared: Mapping[str, Any]  # the inputs as the spec writes them
    secrets: frozenset[str]
    places: Mapping[str, StepPosition]
    variables: Mapping[str, Any]

    def has(self, step: str) -> bool:
        """Whether a run may have a step of this full id, which may be any text."""
        return step in self.places or _ITEM.sub("", step) in self.places

    def place(self, step: str) -> StepPosition:
        """The place of a step of a run; an item has that of its `foreach`."""
        if position := self.places.get(step):
            return position
        item = item_of(step)
        around = self.places.get(item[0]) if item else None
        return _NOWHERE if around is None or item is None else replace(around, parent=item[0])


class FlowLookup:
    """Flows by name or id, as they are now; requests that ask at the same time share a connection, and a read."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._batcher: Batcher[tuple[str, str | None], FlowRow] = Batcher(self._read, MAX_BATCH)

    async def get(self, key: str) -> FlowRow:
        """Raises Missing with the nearest name that the caller may see, Busy."""
        check_key(key)
        return await self._batcher.submit((key, viewer_labels()))

    async def _read(self, keys: Sequence[tuple[str, str | None]]) -> Sequence[FlowRow | Exception]:
        async with self._db.connection() as conn:
            flows = {(key, limit): await _flow(conn, key, limit) for key, limit in dict.fromkeys(keys)}
        return [flows[key] for key in keys]


class WebhookLookup:
    """The webhooks of flows, as they are now; always one read, so that its time does not show which flows exist."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._batcher: Batcher[str, WebhookTarget | None] = Batcher(self._read, MAX_BATCH)

    async def find(self, name: str) -> WebhookTarget | None:
        """None for a flow that is unknown, archived or has no version. Raises Busy."""
        return await self._batcher.submit(name) if _NAME.fullmatch(name) else None

    async def _read(self, names: Sequence[str]) -> Sequence[WebhookTarget | None]:
        async with self._db.connection() as conn:
            by_name = await webhook_targets(conn, set(names))
        return [by_name.get(name) for name in names]


class VersionCache:
    """Versions by id or number, at most MAX_VERSIONS of them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: LRUCache[UUID, Version] = LRUCache(MAX_VERSIONS)
        self._numbers: LRUCache[tuple[UUID, int], UUID] = LRUCache(MAX_VERSIONS)

    async def get(self, version_id: UUID) -> Version:
        """The version of an id that a row has: versions are never deleted."""
        if version := self._known.get(version_id):
            return version
        async with self._db.connection() as conn:
            rows = await versions_by_id(conn, [version_id])
        return self._keep(rows[0])

    async def numbered(self, flow: FlowRow, number: int) -> Version:
        """Raises Missing."""
        if (version_id := self._numbers.get((flow.id, number))) and version_id in self._known:
            return self._known[version_id]
        async with self._db.connection() as conn:
            try:
                row = await get_version(conn, flow.id, number)
            except Missing as error:
                error.message = f"The flow {flow.name} has no version {number}."
                error.hint = f"Its current version is {flow.current_number}."
                raise
        return self._keep(row)

    def _keep(self, row: VersionRow) -> Version:
        self._numbers[row.flow_id, row.number] = row.id
        self._known[row.id] = version = _version(row)
        return version


def check_key(key: str) -> None:
    """Raises Missing for what cannot be a flow's name or id; PostgreSQL cannot even be asked about some of it."""
    if len(key) > 100 or not key.isprintable():
        raise Missing("There is no such flow.", hint="A name has lower-case letters, digits, `.`, `_` and `-`.")


def current_version(flow: FlowRow) -> UUID:
    """The version that new runs and schedules go by. Raises Conflict."""
    if flow.archived_at:
        raise Conflict(
            f"The flow {flow.name} is archived.",
            code="flow_archived",
            hint="Put it back where it came from: its file in the repository, or PUT /api/v1/flows.",
        )
    if flow.current_version_id is None:
        raise Conflict(f"The flow {flow.name} has no version yet.", code="no_version")
    return flow.current_version_id


async def _flow(conn: Connection, key: str, limit: str | None) -> FlowRow | Exception:
    try:
        with as_viewer(limit):
            return await find_flow(conn, key)
    except Missing as error:
        return error


def _version(row: VersionRow) -> Version:
    flow = Flow.from_spec(row.spec)
    return Version(
        id=row.id,
        number=row.number,
        commit_sha=row.commit_sha,
        inputs={input.name: input for input in flow.inputs},
        declared=row.spec.get("inputs", {}),
        secrets=frozenset(input.name for input in flow.inputs if input.secret),
        places=dict(_places(flow)),
        variables=row.variables,
    )


def _places(flow: Flow) -> Iterable[tuple[str, StepPosition]]:
    for index, (full, step) in enumerate(flow.walk()):
        parts = full.split(".")  # parallel.branch.step: two up is the parallel
        yield full, StepPosition(index, step.type, step.name, ".".join(parts[:-2]) or None)
