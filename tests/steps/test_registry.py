"""Step types of other packages: found by entry point, and harmless when broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Invalid
from automata.flow.steptypes import BUILTIN_TYPES
from automata.steps.contract import Outcome
from automata.steps.registry import catalogue, instant_rules, load_types

PLUGIN = """
import sys
from automata.flow.steptypes import BUILTIN_TYPES
from automata.steps.contract import Outcome

class Shout:
    name = "shout"
    kind = "work"
    scope = "result"
    config_schema = {"type": "object"}
    async def execute(self, config, ctx):
        return Outcome(outputs={"text": config["text"].upper()})

shout = Shout()

class Needy(Shout):
    def __init__(self, needed): ...

class Sync(Shout):
    def execute(self, config, ctx): ...

class Group(Shout):
    kind = "group"

class Scopeless(Shout):
    scope = "everything"

class Schemaless(Shout):
    config_schema = None

text = "not a step type"
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shouting_plugin.py").write_text(PLUGIN)
    (tmp_path / "exiting_plugin.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "syntax_plugin.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("shouting_plugin", "exiting_plugin", "syntax_plugin"):
        sys.modules.pop(name, None)


def point(value: str, name: str = "shout") -> EntryPoint:
    return EntryPoint(name, value, "automata.steps")


def load(*points: EntryPoint) -> Mapping[str, Any]:
    return load_types(points)


@pytest.mark.parametrize("value", ["shouting_plugin:Shout", "shouting_plugin:shout"])
async def test_a_class_or_an_object_is_a_step_type(value: str, context: Any) -> None:
    types = load(point(value))
    outcome = await types["shout"].execute({"text": "hi"}, context(None))
    assert outcome == Outcome(outputs={"text": "HI"})
    assert set(types) == {"http", "shout"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:Shout", "ModuleNotFoundError"),
        ("shouting_plugin:Missing", "AttributeError"),
        ("syntax_plugin:X", "SyntaxError"),
        ("exiting_plugin:X", "SystemExit"),
        ("shouting_plugin:Needy", "TypeError"),
        ("shouting_plugin:Sync", "async def execute"),
        ("shouting_plugin:Group", "kind"),
        ("shouting_plugin:Scopeless", "scope"),
        ("shouting_plugin:Schemaless", "config_schema"),
        ("shouting_plugin:text", "name"),
    ],
)
async def test_a_broken_plugin_fails_its_own_steps_with_the_reason(value: str, why: str, context: Any) -> None:
    types = load(point(value), point("shouting_plugin:Shout", "other"))
    failure = (await types["shout"].execute({}, context(None))).failure
    assert failure.code == "plugin_broken"
    assert not failure.retryable
    assert "`shout`" in failure.message
    assert why in failure.message
    assert types["http"].name == "http"


async def test_a_name_must_be_one_and_must_be_the_types_own(context: Any) -> None:
    types = load(point("shouting_plugin:Shout", "Not A Name"), point("shouting_plugin:Shout", "whisper"))
    for name, why in (("Not A Name", "no name"), ("whisper", "'shout'")):
        assert why in (await types[name].execute({}, context(None))).failure.message


@pytest.mark.parametrize("name", BUILTIN_TYPES)
def test_a_plugin_cannot_replace_a_built_in_type(name: str) -> None:
    assert load(point("shouting_plugin:Shout", name))["http"].config_schema["type"] == "object"
    assert catalogue((point("shouting_plugin:Shout", name),))[name].__class__.__module__.startswith("automata.")


def test_of_two_plugins_of_one_name_the_first_stays() -> None:
    types = load(point("shouting_plugin:Shout"), point("no_such_module:Shout"))
    assert type(types["shout"]).__name__ == "Shout"


def test_the_catalogue_has_the_types_of_packages_beside_those_of_the_table() -> None:
    types = catalogue((point("shouting_plugin:Shout"),))
    assert set(types) == {*BUILTIN_TYPES, "shout"}
    assert (types["shout"].kind, types["shout"].scope) == ("work", "result")


def test_what_is_installed_is_asked_when_nothing_is_given() -> None:
    assert "http" in load_types()


def test_the_engine_gets_rules_that_say_what_is_wrong_with_a_config() -> None:
    with pytest.raises(Invalid):
        instant_rules()["delay"].begin({}, None)  # type: ignore[arg-type]
