"""Secret inputs and outputs in answers: their own place shows `***`, and so does wherever their text turned up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from automata.steps.masking import MASKED, masker_of, texts_in


def masker(secrets: frozenset[str], inputs: Mapping[str, Any], outputs: Iterable[Any] = ()) -> Callable[[Any], Any]:
    """`mask_values` of the values of secret inputs, and of `outputs`, which are secret too."""
    return mask_values([*(inputs[name] for name in secrets & inputs.keys()), *outputs])


def mask_values(values: Iterable[Any]) -> Callable[[Any], Any]:
    """A function that replaces these values in every form of steps/masking.py, inside any JSON data; the identity where
    none is long enough to be told from other text."""
    texts = set(texts_in(values))
    if not texts:
        return lambda value: value
    clean = masker_of(texts)
    return lambda value: _walk(value, clean)


def mask_inputs(secrets: frozenset[str], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as they may be shown: `***` in the place of a secret one."""
    mask = masker(secrets, inputs)
    return {name: MASKED if name in secrets else mask(value) for name, value in inputs.items()}


def mask_outputs(names: frozenset[str], outputs: Any) -> Any:
    """Outputs with `***` in the place of secret ones; those of a `foreach` are a list."""
    if not names:
        return outputs
    if isinstance(outputs, list):
        return [mask_outputs(names, item) for item in outputs]
    if not isinstance(outputs, Mapping):
        return outputs
    return {name: MASKED if name in names else value for name, value in outputs.items()}


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
