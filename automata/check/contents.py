"""Which rehearsal cases a project has, which of them are meant, and which a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from automata.errors import Diagnostic, Missing
from automata.flow.subflows import called_flows
from automata.git.tree import joined
from automata.project.flows import fingerprint, list_files, validate
from automata.project.tree import Tree
from automata.sandbox.case import SUFFIXES, Case, read_cases

FOLDER = "tests"

FlowSpecs = dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]


@dataclass(slots=True)
class ProjectContents:
    """What a tree holds. `known`: flows by name, with their variables. `blobs`: what was read, by path."""

    cases: list[Case] = field(default_factory=list)
    known: FlowSpecs = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)  # of the flows, by name
    blobs: dict[str, str] = field(default_factory=dict)
    files: int = 0
    diagnostics: list[Diagnostic] = field(default_factory=list)
    print_of: str = ""  # of the environment: the same file in the same environment says the same


def read_flows(tree: Tree, environment: str, like: ProjectContents | None = None) -> FlowSpecs:
    """The flows of a tree by name. Raises Invalid when one is not valid. `like`: see `gather`."""
    return _flows(tree, environment, like).known


def read_contents(tree: Tree, environment: str, like: ProjectContents | None = None) -> ProjectContents:
    """Flows and cases of a tree; what is wrong with test files is among the diagnostics.

    `like` is another commit's: a flow whose file is the same there is not read again. Raises Invalid when the flows
    themselves are not valid.
    """
    found = _flows(tree, environment, like)
    listing = tree.list(joined(tree.folder, FOLDER))
    if listing is None:
        return found
    found.diagnostics += listing.diagnostics
    reader = _Reader(tree, found)
    for entry in listing.files:
        if entry.path.endswith(SUFFIXES):
            found.files += 1
            found.blobs[entry.path] = entry.blob
            held = read_cases(tree.data(entry), entry.path, reader)
            found.diagnostics += held.diagnostics
            found.cases += held.cases
            if held.cases and held.flow not in found.known:
                found.diagnostics.append(_no_flow(entry.path, held.flow, found))
    return found


def list_contents(tree: Tree, environment: str, like: ProjectContents | None = None) -> ProjectContents:
    """Like `gather`, but cases are not read: enough to tell what differs from another commit."""
    found = _flows(tree, environment, like)
    listing = tree.list(joined(tree.folder, FOLDER))
    found.blobs |= {entry.path: entry.blob for entry in listing.files} if listing else {}
    return found


def _flows(tree: Tree, environment: str, like: ProjectContents | None) -> ProjectContents:
    files = list_files(tree, environment)
    wanted = validate(tree, files)
    found = ProjectContents(diagnostics=list(wanted.diagnostics), print_of=fingerprint(files.environment))
    same = like if like and like.print_of == found.print_of else ProjectContents()
    for flow in wanted.flows:
        blob = files.entries[flow.path].blob
        if same.blobs.get(flow.path) == blob and flow.name in same.known:
            found.known[flow.name] = same.known[flow.name]
        else:
            content = wanted.content(flow.path, tree, files)
            found.known[flow.name] = (content.spec, content.variables)
        found.paths[flow.name] = flow.path
        found.blobs[flow.path] = blob
    return found


def _no_flow(path: str, flow: str, found: ProjectContents) -> Diagnostic:
    from automata.flow.findings import Nearest

    hint = Nearest().hint(flow, list(found.known))
    return Diagnostic("AF407", f"there is no flow `{flow}`", path, 1, 1, "/flow", hint)


class _Reader:
    """Files of a tree by their path from its root, each read once."""

    def __init__(self, tree: Tree, found: ProjectContents) -> None:
        self.tree = tree
        self.found = found

    def __call__(self, path: str) -> bytes | None:
        entry, listing = self.tree.find(path)
        self.found.diagnostics += listing.diagnostics
        if entry is None:
            return None
        self.found.blobs[path] = entry.blob
        return self.tree.data(entry)


def select_cases(found: ProjectContents, words: Sequence[str]) -> list[Case]:
    """Cases of a flow, a file, or with an id (`FILE::NAME`); `*` and `?` match. Raises Missing for what is nothing."""
    if not words:
        return list(found.cases)
    chosen: dict[str, Case] = {}
    for word in words:
        hits = [case for case in found.cases if any(fnmatchcase(name, word) for name in _names(case))]
        if not hits and not found.diagnostics:
            raise Missing(f"No case, test file or flow is {word!r}.", code="no_such_case")
        chosen |= {case.id: case for case in hits}
    return list(chosen.values())


def _names(case: Case) -> Iterable[str]:
    return (case.flow, case.file, Path(case.file).name, case.name, case.id)


def touched_cases(cases: Sequence[Case], now: ProjectContents, before: ProjectContents) -> list[Case]:
    """Cases whose flow, one that it calls, test file or shared files differ; a flow differs by its variables too."""
    flows = {name for name in now.known if now.known[name] != before.known.get(name)}
    while more := {name for name in now.known.keys() - flows if flows & _calls(now, name)}:
        flows |= more
    files = {path for path, blob in now.blobs.items() if before.blobs.get(path) != blob}
    return [case for case in cases if case.flow in flows or case.file in files or files & set(case.read)]


def _calls(found: ProjectContents, name: str) -> set[str]:
    return {call for call, _ in called_flows(found.known[name][0])}
