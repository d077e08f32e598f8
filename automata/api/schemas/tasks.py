"""Tasks of a run, their attempts and logs, and the approvals that some wait for."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StrictBool

from automata.engine.states import TaskStatus
from automata.http.bodies import RequestModel, ResponseModel


class AttemptAnswer(ResponseModel):
    """An attempt before the last one; the last is the task itself."""

    attempt: int
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    retry_at: AwareDatetime | None
    worker: str | None
    error: Any


class TaskAnswer(ResponseModel):
    step: str = Field(description="The full id: `parallel.branch.step`.")
    name: str
    type: str
    parent: str | None = Field(description="The full id of the enclosing parallel.")
    plan: int = Field(description="The step's place in the flow file, parents first; on_failure last.")
    status: TaskStatus
    attempt: int
    queued_at: AwareDatetime | None
    started_at: AwareDatetime | None = Field(
        description="When its first attempt began; of a parallel or a foreach, when the first step inside was queued."
    )
    attempt_started_at: AwareDatetime | None = Field(description="When the attempt began that runs, or was the last.")
    finished_at: AwareDatetime | None
    due_at: AwareDatetime | None = Field(description="When a waiting retry starts, a delay ends or a lease runs out.")
    worker: str | None
    outputs: Any
    error: Any
    attempts: list[AttemptAnswer]


class LogLine(ResponseModel):
    """`request`, of a request: {method, url, status, ms, bytes}, or `error` where no answer came."""

    at: str = Field(description="RFC 3339, by the worker's clock.")
    level: Literal["info", "warning", "error"]
    message: str
    request: dict[str, Any] | None = None


class LogAnswer(ResponseModel):
    step: str
    attempt: int
    lines: list[LogLine] = Field(description="At most 100 lines and 64 KiB.")


class ApprovalAnswer(ResponseModel):
    run_id: UUID
    step: str
    flow: str
    prompt: str
    asked_at: AwareDatetime
    expires_at: AwareDatetime | None


class ApprovalRequest(RequestModel):
    approved: StrictBool
    by: str = Field(default="anonymous", min_length=1, max_length=200)
    comment: str = Field(default="", max_length=10_000)
