"""Repositories with flows in them, and a database to sync them into."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load_repositories() -> ModuleType:
    # Tests are no package: what two rooms share is loaded by its path.
    place = Path(__file__).parents[1] / "git" / "conftest.py"
    spec = importlib.util.spec_from_file_location("git_repositories", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_repositories = _load_repositories()
make_repo = _repositories.make_repo
repo = _repositories.repo


def flow_text(name: str, value: Any = 1, **extra: Any) -> str:
    """A small valid flow (JSON is YAML); `value` is what makes one version differ from another."""
    step = {"id": "say", "type": "transform", "config": {"mappings": {"value": value}}}
    return json.dumps({"name": name, "steps": [step], **extra}, indent=1)


@pytest.fixture
def flow() -> Callable[..., str]:
    return flow_text


@pytest.fixture
def flows() -> Callable[..., dict[str, str]]:
    """`flows(20)` is twenty files below `flows/`: flow-00 and so on."""

    def make(number: int, value: Any = 1) -> dict[str, str]:
        return {f"flows/flow-{index:02d}.yaml": flow_text(f"flow-{index:02d}", value) for index in range(number)}

    return make
