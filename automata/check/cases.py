"""Which cases of a project are meant by the words of a person, and which of them a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from automata.check.contents import ProjectContents
from automata.errors import Missing
from automata.flow.subflows import called_flows
from automata.sandbox.case_file import Case


def select_cases(contents: ProjectContents, words: Sequence[str]) -> list[Case]:
    """Cases of a flow, a file, or with an id (`FILE::NAME`); `*` and `?` match. Raises Missing for what is nothing."""
    if not words:
        return list(contents.cases)
    chosen: dict[str, Case] = {}
    for word in words:
        hits = [case for case in contents.cases if any(fnmatchcase(name, word) for name in _names(case))]
        if not hits and not any(item.severity == "error" for item in contents.case_diagnostics):
            raise Missing(f"No case, test file or flow is {word!r}.", code="no_such_case")
        chosen |= {case.id: case for case in hits}
    return list(chosen.values())


def _names(case: Case) -> Iterable[str]:
    return (case.flow, case.file, Path(case.file).name, case.name, case.id)


def touched_cases(cases: Sequence[Case], head: ProjectContents, base: ProjectContents) -> list[Case]:
    """Cases whose flow, one that it calls, test file or shared files differ; a flow differs by its variables too."""
    flows = {name for name in head.flows if head.flows[name] != base.flows.get(name)}
    while more := {name for name in head.flows.keys() - flows if flows & _calls(head, name)}:
        flows |= more
    files = {path for path, blob in head.blobs.items() if base.blobs.get(path) != blob}
    return [case for case in cases if case.flow in flows or case.file in files or files & set(case.read)]


def _calls(contents: ProjectContents, name: str) -> set[str]:
    return {call for call, _ in called_flows(contents.flows[name].spec)}
