"""The `transform` step: the rendered mappings are the result. The engine decides it on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from automata.engine.decision import Done
from automata.errors import Invalid


class TransformStep:
    """Outputs the mappings."""

    def begin(self, config: Mapping[str, Any], now: datetime) -> Done:
        """Raises Invalid `bad_config` when `mappings` is no object."""
        mappings = config.get("mappings")
        if not isinstance(mappings, Mapping):
            raise Invalid("`mappings` must be an object of names and templates.", code="bad_config")
        return Done(dict(mappings))

    def wake(self, since: datetime, now: datetime, arrived: Any = None) -> Done:
        """A transform never waits, so nothing wakes it."""
        raise Invalid("A transform does not wait.", code="bad_state")
