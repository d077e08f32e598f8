"""Schedules and backfills."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import NAME, Text
from automata.http.query import Instant


class ScheduleRequest(RequestModel):
    """Exactly one of `cron` (five fields) and `interval_sec`."""

    flow: Text = Field(description="The flow's name or id.")
    name: Annotated[str, StringConstraints(strict=True, pattern=NAME)]
    cron: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    interval_sec: Annotated[float, Field(strict=True, ge=1, le=366 * 86_400)] | None = None
    timezone: Annotated[str, StringConstraints(strict=True, max_length=100)] = "UTC"
    inputs: dict[str, Any] = Field(default_factory=dict)
    enabled: Annotated[bool, Field(strict=True)] = True
    catchup: Literal["none", "latest", "all"] = "none"
    overlap: Literal["allow", "skip", "queue"] = "allow"
    jitter_sec: Annotated[float, Field(strict=True, ge=0, le=86_400)] = 0
    starting_deadline_sec: Annotated[float, Field(strict=True, gt=0, le=366 * 86_400)] | None = None


class ScheduleAnswer(ResponseModel):
    id: UUID
    flow: str
    flow_id: UUID
    name: str
    managed_by: Literal["git", "api"]
    enabled: bool
    cron: str | None
    interval_sec: float | None
    timezone: str
    inputs: dict[str, Any]
    catchup: str
    overlap: str
    jitter_sec: float
    starting_deadline_sec: float | None
    last_fire_at: AwareDatetime | None
    last_error: str | None = Field(description="Why the newest fire started nothing, when that is a fault.")
    next_fires: list[AwareDatetime] = Field(description="The next five; none while the schedule is paused.")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class BackfillRequest(RequestModel):
    """`from` is included, `to` is not; at most `limit` fire times, the earliest first."""

    since: Instant = Field(alias="from")
    until: Instant = Field(alias="to", description="At most 3660 days after `from`.")
    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = 100
    dry_run: Annotated[bool, Field(strict=True)] = False


class BackfillAnswer(ResponseModel):
    created: int
    existing: int = Field(description="Fire times that had their run already; in a dry run too.")
    fires: list[AwareDatetime] = Field(description="The fire times that this request was about.")
    next_from: AwareDatetime | None = Field(description="Where to go on; null when nothing is left.")
