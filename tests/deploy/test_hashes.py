"""The image installs files of known digests alone: those of the versions that are tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)((?: ?;[^\\\n]*)?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def pins(name: str) -> dict[str, str]:
    """Version by name; every line but comments is a pin with digests."""
    text = (ROOT / "constraints" / name).read_text()
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    rest = PIN.sub("", lines)
    assert not rest.strip(), rest[:200]
    return {canonicalize_name(match[1]): match[2] for match in PIN.finditer(lines)}


def known_versions(*names: str) -> dict[str, str]:
    lines = [line for name in names for line in (ROOT / "constraints" / name).read_text().splitlines()]
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines if "==" in line}


def test_the_image_has_the_versions_that_are_tested() -> None:
    ours, known = pins("image.txt"), known_versions("runtime.txt")
    assert {name: version for name, version in ours.items() if known.get(name, version) != version} == {}
    assert known.keys() - ours.keys() == set()
    assert ours.keys() - known.keys() <= {"colorama"}, "only what another platform needs besides"


@pytest.mark.parametrize("extra", ["", "oidc", "otel"])
def test_what_the_project_asks_for_is_among_them(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    found = pins("image.txt")
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


def test_what_builds_the_wheel_is_pinned_too() -> None:
    found = pins("build.txt")
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement
    known = known_versions("dev.txt", "runtime.txt")
    assert {name for name, version in found.items() if known.get(name, version) != version} == set()


def test_nothing_else_is_installed_into_the_image() -> None:
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    commands = re.findall(r"pip (install|wheel) ([^&\n]*)", text)
    assert len(commands) == 4
    for verb, words in commands:
        closed = (
            "--require-hashes" in words
            or "--no-index" in words
            or (verb == "wheel" and "--no-build-isolation" in words)
        )
        assert closed, words
