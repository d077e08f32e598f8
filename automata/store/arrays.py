"""Rows as the array parameters of set-based statements, in the text that PostgreSQL reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID


def array_params(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    """`name` -> the column of that name as one array; `rows` hold their values in the order of `names`.

    The driver can write lists itself, one call a value: that was half of the time that Python spent on a batch.
    """
    lists: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [() for _ in names]
    return {name: array_text(values) for name, values in zip(names, lists, strict=True)}


def array_text(values: Iterable[Any]) -> str:
    """One array: values are None, UUIDs, texts, times, numbers or truth values."""
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else str(value)
