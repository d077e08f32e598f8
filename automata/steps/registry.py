"""Which step types there are: the built-in ones and those that installed packages add under `automata.steps`."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from automata.engine.decision import InstantRule
from automata.engine.retry import Failure
from automata.flow.steptypes import STEP_TYPES, OutputScope
from automata.steps.approval import ApprovalStep
from automata.steps.contract import Outcome, StepContext, StepInfo, StepType
from automata.steps.delay import DelayStep
from automata.steps.flow import FlowStep
from automata.steps.http import HttpStep
from automata.steps.transform import TransformStep

GROUP_NAME = "automata.steps"

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_log = logging.getLogger(__name__)

# The code of each row of STEP_TYPES: what workers run, and what the engine asks. A `parallel` has none of its own.
_WORKERS: Mapping[str, StepType] = {"http": HttpStep()}
_RULES: Mapping[str, InstantRule] = {
    "delay": DelayStep(),
    "transform": TransformStep(),
    "flow": FlowStep(),
    "approval": ApprovalStep(),
}


class BrokenType:
    """Stands in for a plugin that could not be loaded: its steps fail and say why, everything else runs."""

    kind = "work"
    scope: OutputScope = "result"
    config_schema: Mapping[str, Any] = {}

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        """Fails with `plugin_broken` and the reason."""
        return Outcome(failure=Failure(message=self.reason, code="plugin_broken"))


def load_types(points: Iterable[EntryPoint] | None = None) -> Mapping[str, StepType]:
    """What a worker runs, by type name. `points` replaces the installed entry points. Never raises for a plugin."""
    types = dict(_WORKERS)
    taken = set(STEP_TYPES)
    for point in entry_points(group=GROUP_NAME) if points is None else points:
        if point.name in taken:
            _log.warning("step type %s of %s is ignored: the name is taken", point.name, point.value)
            continue
        taken.add(point.name)
        types[point.name] = _load(point)
    return types


def catalogue(points: Iterable[EntryPoint] | None = None) -> Mapping[str, StepInfo]:
    """Every type that a flow may name, with its schema; for validation and for documentation."""
    return {**STEP_TYPES, **load_types(points)}


def instant_rules() -> Mapping[str, InstantRule]:
    """What the engine decides without a worker, by type name."""
    return _RULES


def _load(point: EntryPoint) -> StepType:
    try:
        loaded = point.load()
        step_type: Any = loaded() if inspect.isclass(loaded) else loaded  # judged by _problem
        problem = _problem(point.name, step_type)
    # A plugin may call sys.exit or raise anything at import; the worker must outlive that.
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is None:
        loaded_type: StepType = step_type
        return loaded_type
    reason = f"The step type `{point.name}` ({point.value}) could not be loaded: {problem}"[:1_000]
    _log.error("%s", reason)
    return BrokenType(point.name, reason)


def _problem(name: str, step_type: Any) -> str | None:
    """What a loaded object lacks to be a step type; None when it is one."""
    if not _NAME.fullmatch(name):
        return "its name is no name of a step type"
    if getattr(step_type, "name", None) != name:
        return f"its `name` is {getattr(step_type, 'name', None)!r}"
    if getattr(step_type, "kind", None) != "work":
        return "its `kind` must be `work`"
    if getattr(step_type, "scope", None) not in ("response", "result"):
        return "its `scope` must be `response` or `result`"
    if not isinstance(getattr(step_type, "config_schema", None), Mapping):
        return "its `config_schema` must be a JSON Schema"
    if not inspect.iscoroutinefunction(getattr(step_type, "execute", None)):
        return "it has no `async def execute(config, ctx)`"
    return None
