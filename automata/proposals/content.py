"""What is in the files of a proposal: side by side for people, and where a flow is written down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from automata.errors import Invalid, Missing
from automata.flow.yamldump import to_yaml
from automata.git.mirror import Mirror
from automata.git.names import shown
from automata.git.tree import CommitTree, joined
from automata.project.flows import list_files, validate
from automata.project.manifest import read_project
from automata.project.source import Source

MAX_FILES = 100  # side by side; more are named in the diff
MAX_CHARS = 4 * 1024 * 1024  # of all of them together


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file as it was and as it would be; None: not there. `left_out` says why its text is not told."""

    path: str
    base: str | None
    head: str | None
    left_out: str | None = None


def file_pairs(mirror: Mirror, base: str, head: str, paths: Iterable[str]) -> list[FilePair]:
    """In the order of `paths`, within MAX_FILES and MAX_CHARS."""
    before, after = mirror.tree(base), mirror.tree(head)
    files: list[FilePair] = []
    room = MAX_CHARS
    for path in paths:
        if len(files) == MAX_FILES or room <= 0:
            files.append(FilePair(path, None, None, "there are too many"))
            continue
        try:
            pair = FilePair(path, _text(before, path), _text(after, path))
        except UnicodeDecodeError:
            pair = FilePair(path, None, None, "it is not text")
        except Invalid as error:
            pair = FilePair(path, None, None, error.message)
        room -= len(pair.base or "") + len(pair.head or "")
        files.append(pair)
    return files


def _text(tree: CommitTree, path: str) -> str | None:
    """Raises UnicodeDecodeError, Invalid."""
    entry, listing = tree.find(path)
    if refused := [item for item in listing.diagnostics if item.severity == "error"]:
        raise Invalid(refused[0].message, code=refused[0].code)
    return None if entry is None else tree.data(entry).decode()


def flow_path(mirror: Mirror, source: Source, base: str, flow: str) -> str:
    """Where the base has a flow, from the root of the repository; where a new one goes when it has none.

    Raises Invalid (`invalid_flows`) when the base is not valid: then nobody knows.
    """
    tree = mirror.tree(base, source.path)
    flows = validate(tree, list_files(tree, source.environment))
    if path := next((item.path for item in flows.flows if item.name == flow), None):
        return path
    folders = read_project(tree)[0].flows
    if not folders:
        raise Missing("The project has no folder for flows.", code="no_flow_folder", hint="Say the path.")
    return joined(source.path, joined(folders[0], f"{flow}.yaml"))


def flow_file(mirror: Mirror, source: Source, base: str, flow: str) -> tuple[str, str]:
    """Where the base has a flow, from the repository's root, and the text there. Raises Missing, Invalid."""
    path = flow_path(mirror, source, base, flow)
    text = _text(mirror.tree(base), path)
    if text is None:
        raise Missing(f"The repository has no file of the flow {shown(flow)}.", code="no_flow_file")
    return path, text


def spec_text(path: str, spec: Mapping[str, Any]) -> str:
    """A spec as the file at `path` holds it."""
    return json.dumps(spec, indent=2, ensure_ascii=False) + "\n" if path.endswith(".json") else to_yaml(spec)
