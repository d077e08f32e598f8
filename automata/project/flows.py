"""The flows of a tree: listed, read, validated; what was read before is known by its blob."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from cachetools import LRUCache

from automata.errors import Diagnostic, Invalid
from automata.flow.findings import Findings
from automata.flow.load import validate_text
from automata.flow.model import FlowContent, content_hash
from automata.flow.steptypes import BUILTIN_TYPES
from automata.flow.subflows import called_flows
from automata.git.names import shown
from automata.git.tree import Entry, joined
from automata.project.crosscheck import RepositoryFlow, cross_check, repository_flow
from automata.project.manifest import Environment, Project, read_environment, read_project
from automata.project.tree import Tree
from automata.project.variables import resolve, uses
from automata.steps.registry import catalogue

REMEMBERED = 20_000
_LISTED = 5


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file after validation; `flow` is None when it is invalid."""

    flow: RepositoryFlow | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(slots=True)
class ProjectFiles:
    """The files to validate, the flow folders that are missing, and what was refused on the way."""

    folder: str
    project: Project
    environment: Environment
    entries: dict[str, Entry] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)


class ValidationCache:
    """What validation found, by (blob, path, environment). Facts that never change: dropped only for room."""

    def __init__(self, room: int = REMEMBERED) -> None:
        self._known: LRUCache[tuple[str, str, str], CheckedFile] = LRUCache(room)
        self._lock = Lock()

    def get(self, key: tuple[str, str, str]) -> CheckedFile | None:
        """The result for a key, which is the newest by that; None when it is not there."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: tuple[str, str, str], checked: CheckedFile) -> None:
        """Keep a result, and drop the oldest ones beyond `room`."""
        with self._lock:
            self._known[key] = checked


VALIDATED = ValidationCache()


@dataclass(slots=True)
class ProjectFlows:
    """All valid flows of a tree in order of path, and how to get at what they say."""

    flows: list[RepositoryFlow] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)  # warnings
    fresh: dict[str, FlowContent] = field(default_factory=dict)  # by path: what was parsed just now

    def content(self, path: str, tree: Tree, files: ProjectFiles) -> FlowContent:
        """The content of one flow; read and parsed again when only its hash was remembered."""
        if path not in self.fresh:
            _, self.fresh[path] = _check(tree, files.entries[path], files.environment)
        return self.fresh[path]


def list_files(tree: Tree, environment: str) -> ProjectFiles:
    """The project, its environment and its flow files. Raises Usage for an unknown environment."""
    project, problems = read_project(tree)
    stage, more = read_environment(tree, project, environment)
    files = ProjectFiles(tree.folder, project, stage, diagnostics=[*problems, *more])
    for folder in project.flows:
        path = joined(tree.folder, folder)
        listing = tree.list(path)
        if listing is None:
            files.missing.append(path)
            continue
        files.diagnostics += listing.diagnostics
        files.entries |= {entry.path: entry for entry in listing.flows()}
    return files


def validate(tree: Tree, files: ProjectFiles, memory: ValidationCache = VALIDATED) -> ProjectFlows:
    """Validate every file. Raises Invalid (code `invalid_flows`) with the findings of all of them."""
    project_flows = ProjectFlows()
    diagnostics = list(files.diagnostics)
    environment_print = fingerprint(files.environment)
    for path, entry in files.entries.items():
        key = (entry.blob, path, environment_print)
        checked = memory.get(key)
        if checked is None:
            checked, content = _check(tree, entry, files.environment)
            memory.put(key, checked)
            project_flows.fresh[path] = content
        diagnostics += checked.diagnostics
        if checked.flow:
            project_flows.flows.append(checked.flow)
    diagnostics += cross_check(project_flows.flows)
    refuse_errors(diagnostics)
    project_flows.diagnostics = diagnostics
    return project_flows


def refuse_errors(diagnostics: Sequence[Diagnostic]) -> None:
    """Raise Invalid (code `invalid_flows`) with all findings when one of them is an error."""
    errors = [item for item in diagnostics if item.severity == "error"]
    if not errors:
        return
    files = sorted({item.file for item in errors})
    listed = ", ".join(files[:_LISTED]) + (f" and {len(files) - _LISTED} more" if len(files) > _LISTED else "")
    raise Invalid(
        f"{len(errors)} error{'s' if len(errors) > 1 else ''} in {listed}; nothing was changed.",
        code="invalid_flows",
        hint="`automata validate` shows the same findings before the push.",
        diagnostics=diagnostics,
    )


def refuse_missing(files: ProjectFiles) -> None:
    """Raise Invalid (code `folder_missing`) when a first sync finds no flow folder: the address is what is wrong."""
    names = ", ".join(map(shown, files.missing))
    named = files.project.file
    raise Invalid(
        f"There is no folder {names}" + (f", which {named} names." if named else ", so there are no flows."),
        code="folder_missing",
        hint="Check --branch and --path, or name the flow folders in automata.yaml.",
    )


def missing_folders(files: ProjectFiles) -> list[Diagnostic]:
    """A warning (AF304) for each flow folder that the project names and the tree lacks."""
    findings = Findings(files.project.file, files.project.positions)
    for index, folder in enumerate(files.project.flows):
        path = joined(files.folder, folder)
        if path in files.missing:
            findings.add("AF304", f"the folder {shown(path)} does not exist", f"/flows/{index}", severity="warning")
    return findings.found


def fingerprint(environment: Environment) -> str:
    """Identifies everything of an environment that validation and the content hash depend on."""
    secrets = None if environment.secrets is None else sorted(environment.secrets)
    recording = [environment.recording, environment.masked, environment.egress]
    # In the order of its keys, which is part of a version where they are sent on.
    text = json.dumps([environment.name, environment.file, environment.vars, secrets, recording], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _plugin_types() -> dict[str, Mapping[str, Any]]:
    return {name: kind.config_schema for name, kind in catalogue().items() if name not in BUILTIN_TYPES}


def _check(tree: Tree, entry: Entry, environment: Environment) -> tuple[CheckedFile, FlowContent]:
    loaded = validate_text(tree.data(entry), entry.path, _plugin_types())
    if loaded.flow is None or loaded.spec is None:
        return CheckedFile(None, loaded.diagnostics), FlowContent({}, {})
    findings = Findings(entry.path, loaded.positions, found=list(loaded.diagnostics))
    variables = resolve(uses(loaded.spec), environment, findings)
    content = FlowContent(_confined(_recorded(loaded.spec, environment), environment), variables)
    flow = repository_flow(loaded, called_flows(loaded.spec), content_hash(content.spec, variables))
    assert flow is not None
    return CheckedFile(flow, findings.done()), content


def _recorded(spec: Mapping[str, Any], environment: Environment) -> Mapping[str, Any]:
    """The spec with what a worker must know to record: nothing when it is off, else the names to mask.

    It is part of the version, so that a run is recorded as the commit says that it began with.
    """
    recording = spec.get("recording", "on" if environment.recording else "off")
    rest = {name: value for name, value in spec.items() if name != "recording"}
    return {**rest, "recording": {"fields": list(environment.masked)}} if recording == "on" else rest


def _confined(spec: Mapping[str, Any], environment: Environment) -> Mapping[str, Any]:
    """The spec with the environment's egress lists, by which the worker narrows its own: part of the version too."""
    return {**spec, "egress": environment.egress} if environment.egress else spec
