"""Recorded runs, from the repository or from the API: what a replay is held to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from automata.check.production_state import ProductionApi
from automata.errors import Diagnostic, Invalid, Missing
from automata.flow.model import FlowContent
from automata.git.tree import joined
from automata.project.manifest import read_project
from automata.project.schemas import REPLAY_LAST
from automata.project.tree import Tree
from automata.sandbox.compare import Tolerance, check_tolerance
from automata.sandbox.recorded import Recorded, of_document, read_recording

FOLDER = "tests/recordings"
SUFFIX = ".json"
LAST = REPLAY_LAST


def changed_flows(base: Mapping[str, FlowContent], head: Mapping[str, FlowContent]) -> list[str]:
    """Flows of the base that differ on the branch, in what they do or in their variables. New ones have no past."""
    return sorted(name for name in base if head.get(name) != base[name])


def replay_policy(tree: Tree) -> tuple[int, Tolerance]:
    """`checks.replay` of a project: how many runs, and what is no difference. Raises Invalid for a bad path."""
    replay = read_project(tree)[0].checks.get("replay", {})
    tolerance = Tolerance(
        ignore=tuple(replay.get("ignore", ())),
        unordered=tuple(replay.get("unordered", ())),
        number=float(replay.get("tolerance", 0)),
    )
    check_tolerance(tolerance)
    return int(replay.get("last", LAST)), tolerance


def trees_recordings(trees: Sequence[Tree], flows: Iterable[str], last: int) -> list[Recorded]:
    """The recordings of some flows, the newest `last` of each; the first tree wins, so a branch cannot soften one.

    Raises Invalid with the findings when a file is no recording.
    """
    recordings: dict[str, Recorded] = {}
    diagnostics: list[Diagnostic] = []
    for tree in trees:
        listing = tree.list(joined(tree.folder, FOLDER))
        diagnostics += listing.diagnostics if listing else ()
        for entry in listing.files if listing else ():
            if entry.path.endswith(SUFFIX) and entry.path not in recordings:
                recorded, findings = read_recording(tree.data(entry), entry.path)
                diagnostics += findings
                if recorded:
                    recordings[entry.path] = recorded
    if any(item.severity == "error" for item in diagnostics):
        raise Invalid("Not every recording can be read.", code="bad_recording", diagnostics=diagnostics)
    return _newest(recordings.values(), flows, last)


def api_recordings(api: ProductionApi, flows: Iterable[str], last: int) -> list[Recorded]:
    """The same from the database. A flow that production does not have has no runs."""
    recordings: list[Recorded] = []
    for flow in flows:
        try:
            runs = api.get("flows", flow, "recordings", last=last)["items"]
        except Missing:
            continue
        recordings += [_run_recording(api, run["id"]) for run in runs]
    return recordings


def _run_recording(api: ProductionApi, run: str) -> Recorded:
    document: dict[str, Any] = api.get("runs", run, "recording")
    return of_document(document, f"run {run}")


def _newest(recordings: Iterable[Recorded], flows: Iterable[str], last: int) -> list[Recorded]:
    newest_first = sorted(recordings, key=lambda recording: recording.created_at, reverse=True)
    newest = []
    for flow in flows:
        newest += [recording for recording in newest_first if recording.flow == flow][:last]
    return newest
