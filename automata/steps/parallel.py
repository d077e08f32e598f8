"""The `parallel` step as the catalogue knows it. Its branches are steps of the flow and its join is the engine's:
nothing runs here, so there is neither `execute` nor a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.flow.configs import CONFIG_SCHEMAS
from automata.flow.model import GROUP
from automata.steps.contract import Scope


class ParallelStep:
    name = GROUP
    kind = "group"
    scope: Scope = "result"
    config_schema: Mapping[str, Any] = CONFIG_SCHEMAS[GROUP]
