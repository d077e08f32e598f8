"""What pip is told to install is this product, and nobody else's package that has its name."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from automata import DISTRIBUTION

ROOT = Path(__file__).parents[1]
# Words behind an install command that name this product, a variable of a workflow, a file, or this checkout.
OURS = re.compile(
    rf"{DISTRIBUTION}(\[[a-z,]+\])?(==[0-9.]+)?|\$\{{?[A-Z_]+\}}?|\{{DISTRIBUTION\}}\[[a-z]+\]|\.(\[[a-z]+\])?"
)
INSTALL = re.compile(r"\b(?:pip|pipx|uv pip|uv tool)\s+install\s+([^\n`#]*)")
TAKES_A_VALUE = {"-c", "--constraint", "-r", "--requirement", "-e", "--target"}


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and not name.startswith("tests/")]


def texts() -> list[tuple[str, str]]:
    kept = []
    for name in tracked():
        try:
            kept.append((name, (ROOT / name).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return kept


def targets(command: str) -> list[str]:
    """What a line behind `pip install` asks for, without its options."""
    found, skip = [], False
    for word in re.split(r"\s+", command.strip()):
        word = word.strip("'\"),;.:") if word not in (".", "'.[oidc]'") else word
        if skip or word in TAKES_A_VALUE:
            skip = not skip and word in TAKES_A_VALUE
        elif word and not word.startswith("-"):
            found.append(word)
    return found


def test_the_name_for_pip_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION != "automata"
    assert project["scripts"] == {"automata": "automata.cli:main"}, "the command keeps its name"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("pip install automata", ["automata"]),
        ("pip install 'automata[otel]'", ["automata[otel]"]),
        ("python -m pip install --quiet -c constraints/dev.txt automata-flows==1.2", ["automata-flows==1.2"]),
        ('pip install "$PACKAGE"', ["$PACKAGE"]),
    ],
)
def test_what_a_command_installs_is_found(line: str, names: list[str]) -> None:
    (command,) = INSTALL.findall(line)
    assert targets(command) == names


def test_no_text_of_ours_installs_a_package_of_somebody_else_by_our_name() -> None:
    wrong = [
        (name, target)
        for name, text in texts()
        for command in INSTALL.findall(text)
        for target in targets(command)
        if target.lower().startswith("automata") and not OURS.fullmatch(target)
    ]
    assert wrong == []
    assert not [name for name, text in texts() if re.search(r"\bautomata\[(oidc|otel|dev)", text)]


@pytest.mark.parametrize(
    "path",
    [
        "automata/project/starter_files/dot-github/workflows/flows.yml",
        "flows-example/.github/workflows/flows.yml",
        ".github/actions/check/action.yml",
        "deploy/ci/gitlab.yml",
    ],
)
def test_what_a_workflow_installs_unless_it_is_told_otherwise_is_ours(path: str) -> None:
    text = (ROOT / path).read_text()
    assert yaml.safe_load(text)
    defaults = re.findall(
        r"AUTOMATA_PACKAGE(?:: | \|\| ')([a-z-]+)|^    default: (automata[a-z-]*)$", text, re.MULTILINE
    )
    assert {name for pair in defaults for name in pair if name} == {DISTRIBUTION}
