"""Outputs that nobody is shown: `token: {value: "{{ response.body.access_token }}", secret: true}`.

Later steps and the flow that called read them as any other output. Whoever looks at the run sees `***`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYS = frozenset({"value", "secret"})


def output_values(outputs: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Name to template, whichever way each is declared; None stays None."""
    if outputs is None or not any(map(_is_declared, outputs.values())):
        return outputs
    return {name: value["value"] if _is_declared(value) else value for name, value in outputs.items()}


def secret_names(outputs: Any) -> frozenset[str]:
    """The names of the outputs that are declared to be secret."""
    items = outputs.items() if isinstance(outputs, Mapping) else ()
    return frozenset(name for name, value in items if _is_declared(value) and value["secret"])


def secret_values(names: frozenset[str], outputs: Any) -> list[Any]:
    """The values of the secret ones among outputs; those of a `foreach` are a list."""
    if isinstance(outputs, list):
        return [value for item in outputs for value in secret_values(names, item)]
    return [outputs[name] for name in names & outputs.keys()] if isinstance(outputs, Mapping) else []


def _is_declared(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == _KEYS and isinstance(value["secret"], bool)
