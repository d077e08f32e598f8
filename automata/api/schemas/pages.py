"""Pages and lists of whatever a resource has."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import Field

from automata.http.bodies import ResponseModel

Item = TypeVar("Item")


class Page(ResponseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class Listing(ResponseModel, Generic[Item]):
    items: list[Item]
