"""What runs now, as the API knows it: the other side of `automata plan --live`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from automata.check.contents import FlowSpecs
from automata.errors import Usage

MOST = 100_000  # flows; a list that never ends is not one of ours
NEVER = "nothing synced yet"


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
    """`known`: flows by name; `hanging`: {active_runs, dead_letters, schedules} by flow; `commit`: of the last sync."""

    commit: str
    known: FlowSpecs = field(default_factory=dict)
    hanging: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_production_state(api: ProductionApi, environment: str, source: str | None = None) -> ProductionState:
    """What is current in an environment. `source` names one where several repositories feed it. Raises Usage."""
    chosen = _choose(api.get("sync")["items"], environment, source)
    items = list(api.items("sync", chosen["id"], "flows", limit=MOST))
    return ProductionState(
        commit=chosen["head_sha"] or NEVER,
        known={one["name"]: (one["spec"], one["variables"]) for one in items},
        hanging={one["name"]: {name: one[name] for name in HANGING} for one in items},
    )


HANGING = ("active_runs", "dead_letters", "schedules")


def _choose(sources: list[dict[str, Any]], environment: str, url: str | None) -> dict[str, Any]:
    found = [one for one in sources if one["environment"] == environment and url in (None, one["url"], one["id"])]
    if len(found) == 1:
        return found[0]
    told = ", ".join(
        f"{one['url']} ({one['environment']}{', ' + one['path'] if one['path'] else ''})" for one in sources
    )
    if not found:
        raise Usage(
            f"Nothing was ever synced to the environment {environment!r}" + (f" from {url!r}." if url else "."),
            code="no_source",
            hint=f"There are: {told}." if told else "Sync once, or compare two commits with --base.",
        )
    raise Usage(
        f"{len(found)} sources feed the environment {environment!r}.",
        code="several_sources",
        hint=f"Name one with --source, by its address or id: {', '.join(one['id'] for one in found)}.",
        details={"sources": [{name: one[name] for name in ("id", "url", "path")} for one in found]},
    )
