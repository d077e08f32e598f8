"""What requests and answers look like: the models behind /openapi.json.

Bodies of requests are checked with these models. Answers are built by the `of_…` functions of each resource and only
described here (a test holds every answer against its model): validating our own rows twice would cost the hot path.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from automata.api.query import within_reason
from automata.engine.states import RunStatus, TaskStatus

MAX_INT = 2**31 - 1  # PostgreSQL's integer, and every version's number
NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
Item = TypeVar("Item")

Number = Annotated[int, Field(strict=True, ge=1, le=MAX_INT)]
Text = Annotated[str, StringConstraints(strict=True, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
Instant = Annotated[AwareDatetime, AfterValidator(within_reason)]


class Given(BaseModel):
    """A body: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class RunRequest(Given):
    inputs: dict[str, Any] = Field(default_factory=dict, description="Values of the inputs that the flow declares.")
    version: Number | None = Field(None, description="A version other than the current one.")


class ScheduleRequest(Given):
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


class Answered(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(Answered, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class Listing(Answered, Generic[Item]):
    items: list[Item]


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `errors` has one entry a finding."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    pointer: str | None = Field(None, description="RFC 6901 pointer into the request, like /inputs/NAME.")
    errors: list[ProblemItem] | None = None
    details: dict[str, Any] | None = None


class ProblemItem(BaseModel):
    pointer: str
    detail: str
    code: str
    suggestion: str | None = None
    line: int | None = None
    column: int | None = None
    severity: str | None = None


class FlowAnswer(Answered):
    id: UUID
    name: str
    description: str
    labels: dict[str, str]
    managed_by: Literal["git", "api"]
    source: str | None = Field(description="The repository that manages it; null for the API.")
    version: int | None = Field(description="The number of the current version.")
    version_id: UUID | None
    archived_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class VersionSummary(Answered):
    id: UUID
    flow: str
    number: int
    content_hash: str
    commit_sha: str | None
    path: str | None
    author: str | None
    message: str | None
    committed_at: AwareDatetime | None
    created_at: AwareDatetime


class VersionAnswer(VersionSummary):
    spec: dict[str, Any]
    variables: dict[str, Any]


class RunSummary(Answered):
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
    cancelling: bool = Field(description="Its end was asked for and is not reached yet.")
    commit_sha: str | None = Field(description="What the version came from; null for a flow of the API.")
    error: Any


class RunAnswer(RunSummary):
    inputs: dict[str, Any] = Field(description="With defaults applied; secret inputs are masked.")
    outputs: Any
    idempotency_key: str | None
    schedule_id: UUID | None
    created_by: str | None


class AttemptAnswer(Answered):
    """An attempt before the last one; the last is the task itself."""

    attempt: int
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    retry_at: AwareDatetime | None
    worker: str | None
    error: Any


class TaskAnswer(Answered):
    step: str = Field(description="The full id: `parallel.branch.step`.")
    name: str
    type: str
    parent: str | None = Field(description="The full id of the enclosing parallel.")
    plan: int = Field(description="The step's place in the flow file, parents first; on_failure last.")
    status: TaskStatus
    attempt: int
    queued_at: AwareDatetime | None
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    due_at: AwareDatetime | None = Field(description="When a waiting retry starts, a delay ends or a lease runs out.")
    worker: str | None
    outputs: Any
    error: Any
    attempts: list[AttemptAnswer]


class ScheduleAnswer(Answered):
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


class ApprovalAnswer(Answered):
    run_id: UUID
    step: str
    flow: str
    prompt: str
    asked_at: AwareDatetime
    expires_at: AwareDatetime | None


class ApprovalRequest(Given):
    approved: StrictBool
    by: str = Field(default="anonymous", min_length=1, max_length=200)
    comment: str = Field(default="", max_length=10_000)


class CreatedAnswer(Answered):
    id: UUID
    created_at: AwareDatetime


class BackfillRequest(Given):
    """`from` is included, `to` is not; at most `limit` fire times, the earliest first."""

    since: Instant = Field(alias="from")
    until: Instant = Field(alias="to", description="At most 3660 days after `from`.")
    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = 100
    dry_run: Annotated[bool, Field(strict=True)] = False


class BackfillAnswer(Answered):
    created: int
    existing: int = Field(description="Fire times that had their run already; in a dry run too.")
    fires: list[AwareDatetime] = Field(description="The fire times that this request was about.")
    next_from: AwareDatetime | None = Field(description="Where to go on; null when nothing is left.")


class AttemptOfSync(Answered):
    id: int
    sha: str | None
    status: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    plan: Any
    error: Any


class ConditionAnswer(Answered):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    sha: str | None
    time: AwareDatetime | None


class SourceAnswer(Answered):
    id: UUID
    url: str = Field(description="Without credentials.")
    path: str
    branch: str
    environment: str
    head_sha: str | None = Field(description="The commit whose flows are current.")
    synced_at: AwareDatetime | None
    conditions: list[ConditionAnswer]
    attempts: list[AttemptOfSync]


class HealthAnswer(Answered):
    status: Literal["ok", "unready"]
    reasons: list[str] = Field(default_factory=list)


Problem.model_rebuild()
