"""Answers made from rows, by the model that describes them: a field of an answer is named once, in schemas/."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

Reader = Callable[[Any], Any]


def answer_from(
    model: type[BaseModel], *, without: Collection[str] = (), **readers: str | Reader
) -> Callable[[Any], dict[str, Any]]:
    """A function from a row to the answer that `model` describes, its fields in the model's order.

    A field is the row's attribute of the same name, unless `readers` has another attribute (`flow="flow_name"`) or a
    function of the row for it. The caller adds the fields of `without`.
    """
    sources = {name: readers.get(name, name) for name in model.model_fields if name not in without}
    reads = [(name, attrgetter(source) if isinstance(source, str) else source) for name, source in sources.items()]
    return lambda row: {name: read(row) for name, read in reads}
