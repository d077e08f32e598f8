"""The `parallel` step as the catalogue knows it. Its branches are steps of the flow and its join is the engine's:
nothing runs here, so there is neither `execute` nor a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.flow.schema_parts import CONFIG_SCHEMAS
from automata.flow.steptypes import GROUP, OutputScope


class ParallelStep:
    name = GROUP
    kind = "group"
    scope: OutputScope = "result"
    config_schema: Mapping[str, Any] = CONFIG_SCHEMAS[GROUP]
