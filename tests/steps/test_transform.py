"""The mappings are the result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from automata.engine.decision import Done
from automata.errors import Invalid
from automata.steps.transform import TransformStep

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_the_mappings_are_the_result() -> None:
    assert TransformStep().begin({"mappings": {"a": [1], "b": None}}, NOW) == Done({"a": [1], "b": None})


@pytest.mark.parametrize("config", [{}, {"mappings": None}, {"mappings": [1]}, {"mappings": "text"}])
def test_mappings_that_are_no_object_are_a_bad_config(config: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="mappings"):
        TransformStep().begin(config, NOW)


def test_a_transform_is_never_woken() -> None:
    with pytest.raises(Invalid):
        TransformStep().wake(NOW, NOW)
