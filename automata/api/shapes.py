"""What requests and answers look like: the models behind /openapi.json.

Bodies of requests are checked with these models. Answers are built by the `of_…` functions of each resource and only
described here (a test holds every answer against its model): validating our own rows twice would cost the hot path.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from automata.engine.states import TRIGGER_WORDS, RunStatus, TaskStatus
from automata.http.query import Instant

MAX_INT = 2**31 - 1  # PostgreSQL's integer, and every version's number
NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
Item = TypeVar("Item")

Number = Annotated[int, Field(strict=True, ge=1, le=MAX_INT)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strict=True, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]

By = Annotated[
    Annotated[str, StringConstraints(strict=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None,
    Field(description="Who asks; kept with what was done."),
]
MAX_BULK = 500
MAX_RUNS = 1000  # of one batch


class Given(BaseModel):
    """A body: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class RunRequest(Given):
    inputs: dict[str, Any] = Field(default_factory=dict, description="Values of the inputs that the flow declares.")
    version: Number | None = Field(None, description="A version other than the current one.")


class RunOfBatch(RunRequest):
    flow: Text = Field(description="The flow's name or id.")
    idempotency_key: Annotated[str, StringConstraints(strict=True, max_length=255)] | None = Field(
        None, description="The same key with the same inputs gives the same run of the flow again."
    )


class RunBatch(Given):
    runs: Annotated[list[RunOfBatch], Field(min_length=1, max_length=MAX_RUNS)]
    atomic: Flag = Field(False, description="Start all of them or none.")


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


class RetryRequest(Given):
    by: By = None


class RerunRequest(Given):
    version: Literal["same", "latest"] | Number = Field("same", description="Of the flow; `same` is the run's own.")


class BulkRequest(Given):
    """What a bulk command is about. Without any filter it needs `all: true`."""

    flow: Text | None = Field(None, description="The flow's name or id.")
    since: Instant | None = None
    until: Instant | None = Field(None, description="Not included.")
    all: Flag = Field(False, description="Say that no filter is meant.")
    dry_run: Flag = Field(False, description="Only count.")
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_BULK)] = Field(
        MAX_BULK, description="At most so many in this request, which is one transaction."
    )
    cursor: Annotated[str, StringConstraints(max_length=600, pattern=r"^[A-Za-z0-9_-]*$")] | None = Field(
        None, description="`next_cursor` of the request before."
    )


class BulkLetters(BulkRequest):
    code: Text | None = Field(None, description="Of the last error.")
    run_id: UUID | None = None
    by: By = None


class BulkCancel(BulkRequest):
    status: Literal["PENDING", "RUNNING"] | None = None
    trigger: Text | None = Field(None, description=f"One of {TRIGGER_WORDS}.")


class BulkRetry(BulkRequest):
    status: Literal["FAILED", "CANCELLED"] | None = Field(None, description="How they ended; FAILED when not given.")
    trigger: Text | None = Field(None, description=f"One of {TRIGGER_WORDS}.")
    by: By = None


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


class ProposalOrigin(Answered):
    number: int
    title: str
    branch: str
    author: str
    head_sha: str
    merge_sha: str | None
    applied_by: str | None = Field(description="Null: it was merged with Git.")
    applied_at: AwareDatetime | None


class CheckOrigin(Answered):
    """What `automata check` said of exactly the merge that was made."""

    id: int
    passed: bool
    at: AwareDatetime
    failed: list[str]
    stages: list[dict[str, Any]] | None


class ApprovalOrigin(Answered):
    by: str
    comment: str
    at: AwareDatetime


class Provenance(Answered):
    """How a version came to be; `means` says it in words."""

    origin: Literal["proposal", "merge", "push", "files", "api"]
    means: str
    proposal: ProposalOrigin | None
    check: CheckOrigin | None
    approvals: list[ApprovalOrigin]


class ProvenanceAnswer(Provenance):
    run: dict[str, Any]
    version: dict[str, Any]
    commit: dict[str, Any] | None


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
    provenance: Provenance


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
    attempt: int = Field(description="1, and one more with each retry.")
    cancelling: bool = Field(description="Its end was asked for and is not reached yet.")
    commit_sha: str | None = Field(description="What the version came from; null for a flow of the API.")


class RunAttemptAnswer(Answered):
    """An attempt of the run before its last one."""

    attempt: int
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


class PinAnswer(Answered):
    sha: str
    at: AwareDatetime
    by: str
    reason: str


class CommitAnswer(Answered):
    sha: str
    synced_at: AwareDatetime


class SourceAnswer(Answered):
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


class DriftAnswer(Answered):
    flow: str
    kind: Literal["taken", "archived", "renamed", "version", "schedules", "extra"]
    wanted: int | None = Field(description="The version that the commit says.")
    current: int | None
    message: str


class RollbackRequest(Given):
    to: Annotated[str, Field(pattern="^[0-9a-f]{7,40}$", description="A commit that was synced, or its first digits.")]
    reason: Annotated[
        str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
    ] = Field("emergency", description="Shown wherever the environment is, for as long as it is pinned.")
    by: By = None


class RollbackAnswer(Answered):
    source: SourceAnswer
    changed: list[str] = Field(description="The flows that are not what they were.")


class HintAnswer(Answered):
    result: Literal["hinted", "repeated", "ignored"]
    sources: int = Field(description="How many follow what was pushed.")


class DeadLetterAnswer(Answered):
    """A step whose attempts are spent. Secrets and secret inputs are masked."""

    id: int
    state: Literal["open", "retried", "discarded"]
    flow: str
    flow_id: UUID
    version: int
    run_id: UUID
    run_status: RunStatus | None = Field(description="How the run ended; null while it moves.")
    step: str
    attempts: int
    code: str
    error: Any = Field(description="The last one.")
    request: Any = Field(description="What was sent last, where it was HTTP.")
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None
    resolved_by: str | None


class CountAnswer(Answered):
    flow: str
    code: str | None = None
    count: int


class RefusedRun(Answered):
    code: str
    detail: str
    hint: str | None
    errors: list[dict[str, Any]] = Field(description="One entry a finding; `pointer` begins at this run.")


class RunOfBatchAnswer(Answered):
    index: int = Field(description="Of the run in the request, from 0.")
    id: UUID | None
    created: bool = Field(description="False also for a run that an earlier request with this key has started.")
    error: RefusedRun | None


class RunBatchAnswer(Answered):
    created: int
    existing: int = Field(description="Started by an earlier request with the same key.")
    refused: int
    items: list[RunOfBatchAnswer]


class BulkAnswer(Answered):
    """`next_cursor` is null when everything that was meant has been looked at."""

    dry_run: bool
    matched: int
    done: int
    skipped: int = Field(description="Matched, and not in a state for it.")
    runs: list[UUID] = Field(description="The runs that this reached.")
    groups: list[CountAnswer] = Field(description="What a dry run found.")
    next_cursor: str | None


class HealthAnswer(Answered):
    status: Literal["ok", "unready"]
    reasons: list[str] = Field(default_factory=list)


Problem.model_rebuild()


class LiveAnswer(Answered):
    """A flow with its current version and what hangs on it."""

    name: str
    version: int
    commit_sha: str | None
    spec: dict[str, Any]
    variables: dict[str, Any]
    active_runs: int = Field(description="Not ended, of whatever version.")
    dead_letters: int = Field(description="Open ones.")
    schedules: list[dict[str, Any]]


class NotificationTest(Given):
    rule: Text | None = Field(None, description="The name of one; all of them when not given.")


class RuleAnswer(Answered):
    name: str
    environment: str
    on: list[str]
    to: str = Field(description="Scheme and host, or the name of the secret that is the address.")
    template: str
    secret: str | None = Field(description="The name of what it is signed with.")
    flows: list[str]
    labels: dict[str, str]


class NotificationAnswer(Answered):
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


class ProcessAnswer(Answered):
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


class LogLine(Answered):
    """`request`, of a request: {method, url, status, ms, bytes}, or `error` where no answer came."""

    at: str = Field(description="RFC 3339, by the worker's clock.")
    level: Literal["info", "warning", "error"]
    message: str
    request: dict[str, Any] | None = None


class LogAnswer(Answered):
    step: str
    attempt: int
    lines: list[LogLine] = Field(description="At most 100 lines and 64 KiB.")


class RecordedSummary(Answered):
    id: UUID
    version: int
    status: str


class RecordingAnswer(Answered):
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
