"""What tells two builds of one version apart: their code, and nothing else."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

import automata

FILES = {"steps/http.py": "one = 1\n", "store/sql/claim_tasks.sql": "SELECT 1\n", "web/templates/run.html": "<p>\n"}


def build_of(folder: Path, **files: str) -> str:
    """The build of a package with this product's `__init__.py` and other files."""
    folder.mkdir()
    shutil.copyfile(automata.__file__, folder / "__init__.py")
    for name, text in {**FILES, **files}.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    spec = importlib.util.spec_from_file_location("package", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package.build()


def test_a_build_is_the_version_and_a_digest(tmp_path: Path) -> None:
    version, plus, digest = build_of(tmp_path / "a").partition("+")
    assert (version, plus, len(digest)) == (automata.__version__, "+", 10)


@pytest.mark.parametrize("name", [*FILES, "steps/new.py"])
def test_code_that_differs_is_another_build(tmp_path: Path, name: str) -> None:
    assert build_of(tmp_path / "a") != build_of(tmp_path / "b", **{name: "other\n"})


@pytest.mark.parametrize("name", ["web/static/app.js", "_data/migrations/versions/0001_x.py", "x/__pycache__/x.pyc"])
def test_what_is_made_from_it_or_lies_elsewhere_in_a_checkout_is_not_counted(tmp_path: Path, name: str) -> None:
    """A wheel and an editable install of one commit are one build, in whatever folder they are."""
    assert build_of(tmp_path / "a") == build_of(tmp_path / "_data", **{name: "other\n"})
