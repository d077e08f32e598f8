"""Many runs started by one request."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints

from automata.api.schemas.runs import RunRequest
from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import Flag, Text

MAX_RUNS = 1000  # of one batch


class RunOfBatch(RunRequest):
    flow: Text = Field(description="The flow's name or id.")
    idempotency_key: Annotated[str, StringConstraints(strict=True, max_length=255)] | None = Field(
        None, description="The same key with the same inputs gives the same run of the flow again."
    )


class RunBatch(RequestModel):
    runs: Annotated[list[RunOfBatch], Field(min_length=1, max_length=MAX_RUNS)]
    atomic: Flag = Field(False, description="Start all of them or none.")


class RefusedRun(ResponseModel):
    code: str
    detail: str
    hint: str | None
    errors: list[dict[str, Any]] = Field(description="One entry a finding; `pointer` begins at this run.")


class RunOfBatchAnswer(ResponseModel):
    index: int = Field(description="Of the run in the request, from 0.")
    id: UUID | None
    created: bool = Field(description="False also for a run that an earlier request with this key has started.")
    error: RefusedRun | None


class RunBatchAnswer(ResponseModel):
    created: int
    existing: int = Field(description="Started by an earlier request with the same key.")
    refused: int
    items: list[RunOfBatchAnswer]
