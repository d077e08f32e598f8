"""What a tree holds that a check works with: its flows with their variables, and its rehearsal cases."""

from __future__ import annotations

from dataclasses import dataclass, field

from automata.errors import Diagnostic
from automata.flow.findings import Nearest
from automata.flow.model import FlowContent
from automata.git.tree import joined
from automata.project.flows import fingerprint, list_files, missing_folders, validate
from automata.project.tree import Tree
from automata.sandbox.case_file import SUFFIXES, Case, read_cases

FOLDER = "tests"


@dataclass(slots=True)
class ProjectContents:
    """`flows` by name; `paths` of the flows by name; `blobs`: what was read, by path; `files`: how many hold cases.

    `folders` are those where flows were looked for. `diagnostics` are of flows, the project and the environment,
    `case_diagnostics` of cases and what they read. `environment_print` identifies the environment: two trees where it
    is alike say the same with the same files.
    """

    cases: list[Case] = field(default_factory=list)
    flows: dict[str, FlowContent] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    files: int = 0
    folders: tuple[str, ...] = ()
    diagnostics: list[Diagnostic] = field(default_factory=list)
    case_diagnostics: list[Diagnostic] = field(default_factory=list)
    environment_print: str = ""


def read_flows(tree: Tree, environment: str) -> dict[str, FlowContent]:
    """The flows of a tree by name. Raises Invalid when one is not valid."""
    return _with_flows(tree, environment, None).flows


def read_contents(tree: Tree, environment: str, like: ProjectContents | None = None) -> ProjectContents:
    """Flows and cases of a tree; what is wrong with test files is among the diagnostics.

    `like` is another commit's: a flow whose file is the same there is not read again. Raises Invalid when the flows
    themselves are not valid.
    """
    contents = _with_flows(tree, environment, like)
    listing = tree.list(joined(tree.folder, FOLDER))
    if listing is None:
        return contents
    contents.case_diagnostics += listing.diagnostics
    reader = _Reader(tree, contents)
    for entry in listing.files:
        if entry.path.endswith(SUFFIXES):
            contents.files += 1
            contents.blobs[entry.path] = entry.blob
            file = read_cases(tree.data(entry), entry.path, reader)
            contents.case_diagnostics += file.diagnostics
            contents.cases += file.cases
            if file.cases and file.flow not in contents.flows:
                contents.case_diagnostics.append(_no_flow(entry.path, file.flow, contents))
    return contents


def list_contents(tree: Tree, environment: str, like: ProjectContents | None = None) -> ProjectContents:
    """Like `read_contents`, but cases are not read: enough to tell what differs from another commit."""
    contents = _with_flows(tree, environment, like)
    listing = tree.list(joined(tree.folder, FOLDER))
    contents.blobs |= {entry.path: entry.blob for entry in listing.files} if listing else {}
    return contents


def _with_flows(tree: Tree, environment: str, like: ProjectContents | None) -> ProjectContents:
    files = list_files(tree, environment)
    project_flows = validate(tree, files)
    environment_print = fingerprint(files.environment)
    contents = ProjectContents(
        folders=tuple(joined(tree.folder, folder) for folder in files.project.flows),
        diagnostics=[*project_flows.diagnostics, *missing_folders(files)],
        environment_print=environment_print,
    )
    same = like if like and like.environment_print == environment_print else ProjectContents()
    for flow in project_flows.flows:
        blob = files.entries[flow.path].blob
        if same.blobs.get(flow.path) == blob and flow.name in same.flows:
            contents.flows[flow.name] = same.flows[flow.name]
        else:
            contents.flows[flow.name] = project_flows.content(flow.path, tree, files)
        contents.paths[flow.name] = flow.path
        contents.blobs[flow.path] = blob
    return contents


def _no_flow(path: str, flow: str, contents: ProjectContents) -> Diagnostic:
    hint = Nearest().hint(flow, list(contents.flows))
    return Diagnostic("AF407", f"there is no flow `{flow}`", path, 1, 1, "/flow", hint)


class _Reader:
    """Files of a tree by their path from its root, each read once."""

    def __init__(self, tree: Tree, contents: ProjectContents) -> None:
        self._tree = tree
        self._contents = contents

    def __call__(self, path: str) -> bytes | None:
        entry, listing = self._tree.find(path)
        self._contents.case_diagnostics += listing.diagnostics
        if entry is None:
            return None
        self._contents.blobs[path] = entry.blob
        return self._tree.data(entry)
