"""Filters in the address of a page: what people and forms write there, and the links that keep it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from automata.http.query import AuditObject, FlowKey, StartedBy, Word, check_year
from automata.store.pagination import DEFAULT_LIMIT

_MINUTE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")


def _blank(value: Any) -> Any:
    """A field of a form that was left empty filters nothing."""
    return None if value == "" else value


def _moment(value: Any) -> Any:
    """A browser's field for a time knows no zone: the console speaks UTC."""
    if isinstance(value, str) and _MINUTE.fullmatch(value):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return _blank(value)


Moment = Annotated[
    AwareDatetime | None,
    BeforeValidator(_moment),
    AfterValidator(lambda moment: moment and check_year(moment)),
    Query(),
]
Blank = BeforeValidator(_blank)
# As the REST API takes them, but for a field of a form that was left empty.
FlowField = Annotated[FlowKey, Blank]
WordField = Annotated[Word, Blank]
TriggerField = Annotated[StartedBy, Blank]
ObjectField = Annotated[AuditObject, Blank]


def link(path: str, filters: Mapping[str, Any], **more: Any) -> str:
    """`path` with the filters that say something; None and "" are left out, lists are repeated."""
    values = {**filters, **more}
    pairs = {name: _text(value) for name, value in values.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


def paging(
    path: str, filters: Mapping[str, Any], limit: int, cursor: str | None, following: str | None
) -> dict[str, Any]:
    """The links of a list with its filters: `next`, `first` and `here`; empty where there is none."""
    shown = {**filters, "limit": limit if limit != DEFAULT_LIMIT else None}
    return {
        "next": link(path, shown, cursor=following) if following else "",
        "first": link(path, shown) if cursor else "",
        "here": link(path, shown, cursor=cursor),
    }


def _text(value: Any) -> Any:
    """Times as a browser's field has them, unless that would move them."""
    if not isinstance(value, datetime):
        return value
    is_whole = not (value.second or value.microsecond)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if is_whole else value.isoformat()
