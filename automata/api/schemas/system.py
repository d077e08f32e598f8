"""Health, processes and notifications."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import Text


class HealthAnswer(ResponseModel):
    status: Literal["ok", "unready"]
    reasons: list[str] = Field(default_factory=list)


class ProcessAnswer(ResponseModel):
    """`clock_ms`: how far its clock is ahead of the database's."""

    id: UUID
    name: str
    parts: list[str]
    queues: list[str] = Field(description="What its worker takes from; empty for other parts.")
    concurrency: int
    version: str
    clock_ms: float
    started_at: str
    seen_at: str
    alive: bool


class NotificationTest(RequestModel):
    rule: Text | None = Field(None, description="The name of one; all of them when not given.")


class RuleAnswer(ResponseModel):
    name: str
    environment: str
    on: list[str]
    to: str = Field(description="Scheme and host, or the name of the secret that is the address.")
    template: str
    secret: str | None = Field(description="The name of what it is signed with.")
    flows: list[str]
    labels: dict[str, str]


class NotificationAnswer(ResponseModel):
    """`id` is that of the header `webhook-id`, behind `msg_`."""

    id: UUID
    rule: str
    kind: str
    to: str
    template: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    due_at: str | None = Field(description="When it is sent, or sent again.")
    status: int | None = Field(description="What the receiver answered last.")
    error: str | None
    payload: dict[str, Any]
    created_at: str
    ended_at: str | None
