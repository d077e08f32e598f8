"""Recorded runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from automata.http.bodies import ResponseModel


class RecordedSummary(ResponseModel):
    id: UUID
    version: int
    status: str


class RecordingAnswer(ResponseModel):
    """A recorded run, masked; `exchanges` are its requests with their answers."""

    version: int = Field(description="Of this document's shape.")
    flow: str
    run: dict[str, Any]
    inputs: dict[str, Any]
    variables: dict[str, Any]
    status: str
    outputs: Any
    error: Any
    steps: dict[str, Any]
    given: dict[str, Any] = Field(description="What other flows and people answered, by step.")
    exchanges: list[dict[str, Any]]
