"""Secret inputs in answers: their own place shows `***`, and wherever their text turned up later does too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MASKED = "***"
SHORTEST = 4  # replacing every `1` because a secret is `1` would ruin the answer and tell the secret


def masker(secrets: frozenset[str], inputs: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A function that replaces the values of secret inputs inside any JSON data; the identity without secrets."""
    texts = sorted(set(_texts(inputs[name] for name in secrets & inputs.keys())), key=len, reverse=True)
    if not texts:
        return lambda value: value

    def clean(text: str) -> str:
        for secret in texts:
            text = text.replace(secret, MASKED)
        return text

    return lambda value: _walk(value, clean)


def mask_inputs(secrets: frozenset[str], inputs: Mapping[str, Any]) -> dict[str, Any]:
    mask = masker(secrets, inputs)
    return {name: MASKED if name in secrets else mask(value) for name, value in inputs.items()}


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            if len(value) >= SHORTEST:
                yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, list):
            yield from _texts(value)
        elif not isinstance(value, bool) and value is not None and len(str(value)) >= SHORTEST:
            yield str(value)


def _walk(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(name): _walk(item, clean) for name, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, clean) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = str(value)
        return MASKED if clean(text) != text else value
    return value
