"""Words that select no case are never a success."""

from __future__ import annotations

import pytest

from automata.check import tests as runs
from automata.check.cases import select_cases
from automata.check.contents import ProjectContents
from automata.errors import Diagnostic, Missing
from automata.report import tests as reports


def test_a_warning_does_not_hide_that_nothing_was_selected() -> None:
    warning = Diagnostic("AF330", "there is no flow", severity="warning")
    contents = ProjectContents(diagnostics=[warning], case_diagnostics=[warning])
    with pytest.raises(Missing):
        select_cases(contents, ["nosuch"])
    assert runs.TestRun(reports.tests_report([], [warning], 0, 0.0), 0, 0).nothing_to_run


def test_a_file_that_cannot_be_read_may_hold_what_was_meant() -> None:
    error = Diagnostic("AF020", "a key is unknown")
    assert select_cases(ProjectContents(case_diagnostics=[error]), ["nosuch"]) == []
    assert not runs.TestRun(reports.tests_report([], [error], 0, 0.0), 0, 0).nothing_to_run
