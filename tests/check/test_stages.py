"""The table of stages that a check iterates."""

from __future__ import annotations

import subprocess
import sys

from automata.check.stages import STAGES
from automata.project.schemas import CHECK_STAGES, REQUIRED_STAGES

LOADED = """
import sys
import automata.check.__main__, automata.check.change, automata.check.plan, automata.check.replay, automata.check.tests
print(sorted(name for name in sys.modules if name.partition(".")[0] == "typer" or name.startswith("automata.cli")))
"""


def test_a_project_may_require_exactly_the_stages_that_there_are() -> None:
    assert tuple(STAGES) == CHECK_STAGES
    assert set(REQUIRED_STAGES) <= set(STAGES)


def test_a_check_needs_nothing_of_the_command_line() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
