"""Sources of flows, their sync and drift."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from automata.http.bodies import ResponseModel


class AttemptOfSync(ResponseModel):
    id: int
    sha: str | None
    status: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    plan: Any
    error: Any


class ConditionAnswer(ResponseModel):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    sha: str | None
    time: AwareDatetime | None


class PinAnswer(ResponseModel):
    sha: str
    at: AwareDatetime
    by: str
    reason: str


class CommitAnswer(ResponseModel):
    sha: str
    synced_at: AwareDatetime


class SourceAnswer(ResponseModel):
    id: UUID
    url: str = Field(description="Without credentials.")
    path: str
    branch: str
    environment: str
    head_sha: str | None = Field(description="The commit whose flows are current.")
    synced_at: AwareDatetime | None
    branch_sha: str | None = Field(description="Where the controller saw the branch last.")
    branch_since: AwareDatetime | None = Field(description="When the controller first saw it there.")
    hinted_at: AwareDatetime | None = Field(description="When a webhook last announced a push.")
    asked_at: AwareDatetime | None = Field(description="When somebody last asked for a look.")
    pinned: PinAnswer | None = Field(description="Set while no sync moves the environment.")
    heal: bool = Field(description="Whether the controller puts back what was changed beside Git.")
    conditions: list[ConditionAnswer]
    attempts: list[AttemptOfSync]
    commits: list[CommitAnswer] = Field(description="That a rollback may go to, newest first.")


class DriftAnswer(ResponseModel):
    flow: str
    kind: Literal["taken", "archived", "renamed", "version", "schedules", "extra"]
    wanted: int | None = Field(description="The version that the commit says.")
    current: int | None
    message: str


class RollbackAnswer(ResponseModel):
    source: SourceAnswer
    changed: list[str] = Field(description="The flows that are not what they were.")


class HintAnswer(ResponseModel):
    result: Literal["hinted", "repeated", "ignored"]
    sources: int = Field(description="How many follow what was pushed.")


class LiveAnswer(ResponseModel):
    """A flow with its current version and what hangs on it."""

    name: str
    version: int
    commit_sha: str | None
    spec: dict[str, Any]
    variables: dict[str, Any]
    active_runs: int = Field(description="Not ended, of whatever version.")
    dead_letters: int = Field(description="Open ones.")
    schedules: list[dict[str, Any]]
