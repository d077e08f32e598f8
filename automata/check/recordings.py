"""Recorded runs, from the repository or from the API: what a replay goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from automata.check.contents import FlowSpecs
from automata.check.production_state import ProductionApi
from automata.errors import Diagnostic, Invalid, Missing
from automata.git.tree import joined
from automata.project.manifest import read_project
from automata.project.tree import Tree
from automata.sandbox.compare import Tolerance, check_tolerance
from automata.sandbox.recorded import Recorded, of_document, read_recording

FOLDER = "tests/recordings"
SUFFIX = ".json"
LAST = 20
MOST = 1_000


def changed_flows(base: FlowSpecs, head: FlowSpecs) -> list[str]:
    """Flows of the base that differ on the branch, in what they do or in their variables. New ones have no past."""
    return sorted(name for name in base if head.get(name) != base[name])


def policy_of(tree: Tree) -> tuple[int, Tolerance]:
    """`checks.replay` of a project: how many runs, and what is no difference. Raises Invalid for a bad path."""
    replay = read_project(tree)[0].checks.get("replay", {})
    tolerance = Tolerance(
        ignore=tuple(replay.get("ignore", ())),
        unordered=tuple(replay.get("unordered", ())),
        number=float(replay.get("tolerance", 0)),
    )
    check_tolerance(tolerance)
    return int(replay.get("last", LAST)), tolerance


def from_trees(trees: Sequence[Tree], flows: Iterable[str], last: int) -> list[Recorded]:
    """The recordings of some flows, the newest `last` of each; the first tree wins, so a branch cannot soften one.

    Raises Invalid with the findings when a file is no recording.
    """
    found: dict[str, Recorded] = {}
    wrong: list[Diagnostic] = []
    for tree in trees:
        listing = tree.list(joined(tree.folder, FOLDER))
        wrong += listing.diagnostics if listing else ()
        for entry in listing.files if listing else ():
            if entry.path.endswith(SUFFIX) and entry.path not in found:
                recorded, findings = read_recording(tree.data(entry), entry.path)
                wrong += findings
                if recorded:
                    found[entry.path] = recorded
    if any(one.severity == "error" for one in wrong):
        raise Invalid("Not every recording can be read.", code="bad_recording", diagnostics=wrong)
    return _newest(found.values(), flows, last)


def from_api(api: ProductionApi, flows: Iterable[str], last: int) -> list[Recorded]:
    """The same from the database. A flow that production does not have has no runs."""
    found = []
    for flow in flows:
        try:
            listed = api.get("flows", flow, "recordings", last=last)["items"]
        except Missing:
            continue
        found += [_from_run(api, one["id"]) for one in listed]
    return found


def _from_run(api: ProductionApi, run: str) -> Recorded:
    document: dict[str, Any] = api.get("runs", run, "recording")
    return of_document(document, f"run {run}")


def _newest(recorded: Iterable[Recorded], flows: Iterable[str], last: int) -> list[Recorded]:
    kept = []
    wanted = list(recorded)
    for flow in flows:
        own = sorted((one for one in wanted if one.flow == flow), key=lambda one: one.created_at, reverse=True)
        kept += own[:last]
    return kept
