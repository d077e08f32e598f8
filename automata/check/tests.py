"""`automata test`: the cases of a project, rehearsed against their mocks in memory and on virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from automata.check.cases import select_cases, touched_cases
from automata.check.contents import list_contents, read_contents
from automata.project.local import LocalProject
from automata.report.tests import tests_report
from automata.sandbox.case_runner import CaseResult
from automata.sandbox.pool import run_cases

# Shows how far the results are: takes them and their number, and gives them on.
Progress = Callable[[Iterator[CaseResult], int], Iterator[CaseResult]]


@dataclass(frozen=True, slots=True)
class TestRun:
    """`cases` were run, of `known` that the project has."""

    report: dict[str, Any]
    cases: int
    known: int

    @property
    def nothing_to_run(self) -> bool:
        """Whether no case was selected though every test file could be read."""
        return not self.cases and not self.report["summary"]["errors"]


def run_tests(
    project: LocalProject, words: Sequence[str], base: str | None, jobs: int, progress: Progress | None = None
) -> TestRun:
    """Rehearse the cases that `words` select, of the files on disk; with `base` only those that differ from it.

    Raises Invalid when the flows are not valid, Missing for words that select nothing.
    """
    began = time.monotonic()
    contents = read_contents(project.now(), project.environment)
    cases = select_cases(contents, words)
    if base is not None:
        cases = touched_cases(cases, contents, list_contents(project.at(base), project.environment, like=contents))
    results = run_cases(cases, contents.flows, jobs)
    shown = progress(results, len(cases)) if progress else results
    played = [asdict(result) for result in shown]
    report = tests_report(played, contents.case_diagnostics, contents.files, time.monotonic() - began)
    return TestRun(report, len(cases), len(contents.cases))
