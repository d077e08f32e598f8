"""What runs now, as the API knows it: the other side of `automata plan --live`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from automata.errors import Usage
from automata.flow.model import FlowContent

MAX_FLOWS = 100_000  # a list that never ends is not one of ours
NEVER = "nothing synced yet"
HANGING = ("active_runs", "dead_letters", "schedules")


class ProductionApi(Protocol):
    """The REST API of an installation, as far as a check reads it. Raises Missing, Refused, Unavailable."""

    def get(self, *path: str, **query: Any) -> Any:
        """The JSON at a path such as `("flows", "a", "recordings")`."""
        ...

    def items(self, *path: str, limit: int, **query: Any) -> Iterator[Any]:
        """At most `limit` items of a list, over all its pages."""
        ...


@dataclass(frozen=True, slots=True)
class ProductionState:
    """`flows` by name; `hanging`: {active_runs, dead_letters, schedules} by flow; `commit`: of the last sync."""

    commit: str
    flows: Mapping[str, FlowContent] = field(default_factory=dict)
    hanging: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_production_state(api: ProductionApi, environment: str, source: str | None = None) -> ProductionState:
    """What is current in an environment. `source` names one where several repositories feed it. Raises Usage."""
    chosen = _choose(api.get("sync")["items"], environment, source)
    flows = list(api.items("sync", chosen["id"], "flows", limit=MAX_FLOWS))
    return ProductionState(
        commit=chosen["head_sha"] or NEVER,
        flows={flow["name"]: FlowContent(flow["spec"], flow["variables"]) for flow in flows},
        hanging={flow["name"]: {name: flow[name] for name in HANGING} for flow in flows},
    )


def _choose(sources: list[dict[str, Any]], environment: str, source: str | None) -> dict[str, Any]:
    fitting = [
        item for item in sources if item["environment"] == environment and source in (None, item["url"], item["id"])
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise _no_source(sources, environment, source)
    raise Usage(
        f"{len(fitting)} sources feed the environment {environment!r}.",
        code="several_sources",
        hint=f"Name one with --source, by its address or id: {', '.join(item['id'] for item in fitting)}.",
        details={"sources": [{name: item[name] for name in ("id", "url", "path")} for item in fitting]},
    )


def _no_source(sources: list[dict[str, Any]], environment: str, source: str | None) -> Usage:
    names = ", ".join(
        f"{item['url']} ({item['environment']}{', ' + item['path'] if item['path'] else ''})" for item in sources
    )
    return Usage(
        f"Nothing was ever synced to the environment {environment!r}" + (f" from {source!r}." if source else "."),
        code="no_source",
        hint=f"There are: {names}." if names else "Sync once, or compare two commits with --base.",
    )
