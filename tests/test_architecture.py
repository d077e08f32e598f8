"""The structure of the code, held: what house rules of CONTRIBUTING.md can be counted."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from tests import architecture

MAX_LINES = 400
MAX_MEDIAN, MAX_P95 = 10, 30
MAX_UNDOCUMENTED = 0.10
LONG_FILES: dict[str, str] = {}  # path -> why it is longer than MAX_LINES


def test_no_module_imports_itself_in_a_circle():
    assert architecture.circles() == []


def test_files_are_short_but_for_those_that_are_named():
    assert sorted(architecture.long_files(MAX_LINES)) == sorted(LONG_FILES)


def test_functions_are_short():
    lengths = architecture.function_lengths()
    assert statistics.median(lengths) <= MAX_MEDIAN
    assert lengths[int(len(lengths) * 0.95)] <= MAX_P95


def test_public_names_have_docstrings():
    share = architecture.share_without_docstring()
    missing = [name for name, has in architecture.public_names() if not has]
    assert share < MAX_UNDOCUMENTED, missing


def test_every_package_has_a_floor():
    rooms = {path.name for path in (architecture.ROOT / "automata").iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in (architecture.ROOT / "automata").glob("*.py")} - {"__init__", "__main__"}
    assert sorted(room for floor in architecture.floors() for room in floor) == sorted(rooms | files)


def test_the_table_of_floors_in_contributing_is_that_of_the_contracts():
    text, wanted = architecture.contributing()
    assert text == wanted, "run: python -m tests.architecture --write"


def test_the_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint], cwd=architecture.ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
