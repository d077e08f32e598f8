"""How settings are parsed, by pydantic-settings. `automata.settings.load` imports this only where it has to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from automata.errors import Usage
from automata.settings_fields import CONFIG, Rules, variable

_KINDS = {"int": "no whole number", "float": "no number", "bool": "neither true nor false", "str": "no text"}


class _Sources(BaseSettings):
    # Lists are ours to part: pydantic-settings would read them as JSON. YAML has numbers where we have texts.
    model_config = SettingsConfigDict(extra="forbid", enable_decoding=False, coerce_numbers_to_str=True)


def parse(kind: type[Any], path: str | None, given: Mapping[str, str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the dataclass `kind`: from the YAML file at `path`, over it `given` (by name, as the environment
    writes them), over it flags. Raises Usage.
    """
    content = _from_file(kind, Path(path)) if path else {}

    class Sources(_model(kind)):  # type: ignore[misc]
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            environment = EnvSettingsSource(settings_cls)
            environment.env_vars = given  # upper-case names alone, of the environment that we were given
            return init_settings, environment, InitSettingsSource(settings_cls, content)

    try:
        return dict(Sources(**flags).model_dump())
    except ValidationError as error:
        raise _usage(kind, error.errors()[0]) from error


def _model(kind: type[Any]) -> type[BaseSettings]:
    hints = get_type_hints(kind)
    columns: dict[str, Any] = {
        item.name: (_parsed(hints[item.name], item.metadata["rules"], item.default), item.default)
        for item in fields(kind)
    }
    return create_model("SettingsModel", __base__=_Sources, **columns)


def _parsed(kind: Any, rules: Rules, default: Any) -> Any:
    """The type of a field, with what makes it of a text and what bounds it."""
    if kind is bool:
        return bool
    if kind in (int, float):
        return Annotated[kind, Field(ge=rules.least, le=rules.most)]
    before = _text if kind is str else lambda raw: _parts(raw, rules)
    return Annotated[kind, BeforeValidator(before), AfterValidator(lambda value: _checked(value, rules, default))]


def _text(raw: Any) -> Any:
    # `auth: on` is a truth value to YAML 1.1, and `branch: 2026-01-01` a date.
    return str(raw) if isinstance(raw, bool | date) else raw


def _parts(raw: Any, rules: Rules) -> Any:
    """The parts of a list that was given, which its rules may forbid to be empty; the default is a tuple already."""
    parts = _parted(raw, rules.separator)
    return parts if isinstance(raw, tuple) or parts else _checked(parts, rules, None)


def _parted(raw: Any, separator: str | None) -> Any:
    if isinstance(raw, Mapping):
        return tuple(f"{key}={value}" for key, value in raw.items())
    if isinstance(raw, str):
        return tuple(part.strip() for part in raw.split(separator) if part.strip())
    return raw


def _checked(value: Any, rules: Rules, default: Any) -> Any:
    if value == "" and default:
        raise ValueError(f"it is empty; leave it out for {default}")
    if rules.check and (value or value != default) and (wrong := rules.check(value)):
        raise ValueError(wrong)
    return value


def _from_file(kind: type[Any], path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Usage(f"{CONFIG}: {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise Usage(f"{CONFIG}: {path} must map settings to values")
    if unknown := content.keys() - {item.name for item in fields(kind)}:
        raise Usage(f"{CONFIG}: {path} must map settings to values; unknown: {sorted(map(str, unknown))}")
    return content


def _usage(kind: type[Any], error: ErrorDetails) -> Usage:
    """Which variable, what is wrong with it, and what it may be."""
    name = str(error["loc"][0])
    item = next(item for item in fields(kind) if item.name == name)
    rules: Rules = item.metadata["rules"]
    raw = error["input"]
    # What is no text where one belongs may hold a password: it is not quoted, and no secret ever is.
    quoted = repr(raw) if item.repr and item.type != "str" else "what it holds"
    match error["type"]:
        case "value_error":
            wrong = str(error["ctx"]["error"])
        case "greater_than_equal" | "less_than_equal" if rules.most is not None:
            wrong = f"{quoted} is not {rules.least:g} to {rules.most:g}" + (f"; {rules.hint}" if rules.hint else "")
        case "greater_than_equal":
            wrong = f"{quoted} is not {rules.least:g} or more"
        case _:
            wrong = f"{quoted} is {_KINDS.get(str(item.type), 'no list of texts')}"
    return Usage(f"{variable(name)}: {wrong}")
