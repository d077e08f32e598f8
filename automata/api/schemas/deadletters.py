"""Dead letters."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from automata.api.schemas.bulk import BulkRequest
from automata.engine.states import RunStatus
from automata.http.bodies import ResponseModel
from automata.http.fields import By, Text


class BulkLetters(BulkRequest):
    code: Text | None = Field(None, description="Of the last error.")
    run_id: UUID | None = None
    by: By = None


class ParentAnswer(ResponseModel):
    run_id: UUID
    flow: str
    step: str = Field(description="It had waited for the run below.")


class DeadLetterAnswer(ResponseModel):
    """A step whose attempts are spent. Secrets and secret inputs are masked."""

    id: int
    state: Literal["open", "retried", "discarded"]
    flow: str
    flow_id: UUID
    version: int
    run_id: UUID
    run_status: RunStatus | None = Field(description="How the run ended; null while it moves.")
    step: str | None = Field(description="Null where the run failed by none of its steps: its outputs cannot be made.")
    parents: list[ParentAnswer] = Field(
        description="The runs above that failed with this one, the nearest first. They have no letter of their own."
    )
    attempts: int
    code: str
    error: Any = Field(description="The last one.")
    request: Any = Field(description="What was sent last, where it was HTTP.")
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None
    resolved_by: str | None
