"""Runs: what starts one, and how one is shown."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from automata.api.schemas.bulk import BulkRequest
from automata.engine.states import TRIGGER_WORDS, RunStatus
from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import By, Number, Text


class RunRequest(RequestModel):
    inputs: dict[str, Any] = Field(default_factory=dict, description="Values of the inputs that the flow declares.")
    version: Number | None = Field(None, description="A version other than the current one.")


class RetryRequest(RequestModel):
    by: By = None


class RunRetryRequest(RetryRequest):
    version: Literal["same", "latest"] | Number = Field(
        "same", description="Of the flow; in another one than the run's own the steps that are kept must be the same."
    )


class RerunRequest(RequestModel):
    version: Literal["same", "latest"] | Number = Field("same", description="Of the flow; `same` is the run's own.")


class RunSummary(ResponseModel):
    id: UUID
    flow: str
    flow_id: UUID
    version: int
    status: RunStatus
    trigger: str
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    scheduled_for: AwareDatetime | None
    attempt: int = Field(description="1, and one more with each retry.")
    cancelling: bool = Field(description="Its end was asked for and is not reached yet.")
    commit_sha: str | None = Field(description="What the version came from; null for a flow of the API.")
    parent_run_id: UUID | None = Field(description="The run whose `flow` step started it.")
    parent_step: str | None


class RunAttemptAnswer(ResponseModel):
    """An attempt of the run before its last one."""

    attempt: int
    version: int = Field(description="By which it went.")
    status: Literal["FAILED", "CANCELLED"]
    started_at: AwareDatetime
    finished_at: AwareDatetime
    error: Any
    steps: list[str] | None = Field(description="What the retry was asked for; null for all that had failed.")
    retried_at: AwareDatetime
    retried_by: str | None


class RunAnswer(RunSummary):
    error: Any
    inputs: dict[str, Any] = Field(description="With defaults applied; secret inputs are masked.")
    outputs: Any
    idempotency_key: str | None
    schedule_id: UUID | None
    created_by: str | None
    rerun_of: UUID | None = Field(description="The run whose inputs these are.")
    attempts: list[RunAttemptAnswer]


class CreatedAnswer(ResponseModel):
    id: UUID
    created_at: AwareDatetime


class BulkCancel(BulkRequest):
    status: Literal["PENDING", "RUNNING"] | None = None
    trigger: Text | None = Field(None, description=f"One of {TRIGGER_WORDS}.")


class BulkRetry(BulkRequest):
    status: Literal["FAILED", "CANCELLED"] | None = Field(None, description="How they ended; FAILED when not given.")
    trigger: Text | None = Field(None, description=f"One of {TRIGGER_WORDS}.")
    by: By = None
