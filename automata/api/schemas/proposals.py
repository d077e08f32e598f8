"""Proposals: changes on branches, their checks and reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import Text

MAX_FILES = 100

Long = Annotated[str, StringConstraints(strict=True, max_length=10_000)]
Content = Annotated[str, StringConstraints(strict=True, max_length=1024 * 1024)]
Files = Annotated[
    dict[Text, Content | None],
    Field(max_length=MAX_FILES, description="Text by path from the repository's root; null takes a file away."),
]
Sha = Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{7,40}$")]
Comment = Annotated[str, StringConstraints(strict=True, max_length=4_000)]
Checks = Literal["pending", "running", "passed", "failed", "stale"]


class Acting(RequestModel):
    """`as` is for a server without authentication: with it the server knows who asks."""

    model_config = ConfigDict(extra="forbid", validate_by_alias=True, validate_by_name=True)
    as_: Text | None = Field(None, alias="as", description="`Ada <ada@example.com>`.")


class Create(Acting):
    branch: Text
    files: Files = Field(min_length=1)
    message: Long = Field(min_length=1)
    title: Text | None = Field(None, description="The first line of the message when not given.")


class Propose(Acting):
    """Exactly one of `spec` and `content`."""

    spec: dict[str, Any] | None = Field(None, description="schemas/flow.schema.json describes it.")
    content: Content | None = Field(None, description="The file's text.")
    path: Text | None = Field(None, description="From the repository's root; where the base has the flow if not given.")
    branch: Text | None = Field(None, description="`proposal/FLOW-…` when not given.")
    message: Long = Field(min_length=1)
    title: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Propose:
        if (self.spec is None) == (self.content is None):
            raise ValueError("give exactly one of spec and content")
        return self


class Update(Acting):
    files: Files = Field(default_factory=dict)
    message: Long | None = None
    title: Text | None = None

    @model_validator(mode="after")
    def _some(self) -> Update:
        if not self.files and self.title is None:
            raise ValueError("give title or files")
        return self


class Apply(Acting):
    head: Sha | None = Field(None, description="Apply it only if the branch is still there: 409 `head_moved` else.")


class Reject(Apply):
    comment: Comment = ""


class Approve(Acting):
    head: Sha = Field(
        description="What was looked at, `head_sha` of the proposal: 409 `head_moved` when it is another."
    )
    comment: Comment = ""


class BaseAnswer(ResponseModel):
    branch: str
    sha: str


class Approvals(ResponseModel):
    needed: int
    by: list[str]


class ProposalSummary(ResponseModel):
    """`checks` and `approvals` are of exactly this head, base, merge tree and policy."""

    number: int
    id: str
    branch: str
    title: str
    author: str
    state: Literal["DRAFT", "PENDING_REVIEW", "APPROVED", "APPLIED", "REJECTED", "CLOSED"]
    checks: Checks
    conflicted: list[str] = Field(description="Files in which it conflicts with its base.")
    behind: bool
    base: BaseAnswer
    head_sha: str
    merge_tree: str | None
    approvals: Approvals
    unknown_writers: list[str] = Field(
        description="Addresses in it for which nobody vouches: each costs one approval more, which `needed` counts."
    )
    merge_sha: str | None
    ended_by: str | None
    ended_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CheckAnswer(ResponseModel):
    id: int
    head: str
    base: str
    tree: str
    policy: str
    passed: bool
    failed: list[str] = Field(description="The required stages that refuse it.")
    created_at: datetime


class ReviewAnswer(ResponseModel):
    by: str
    approved: bool
    comment: str
    head: str
    created_at: datetime


class Trouble(ResponseModel):
    code: str
    message: str
    hint: str | None


class ProposalAnswer(ProposalSummary):
    """`sandbox_result`: the report of `automata check`, with `differences` by step.

    `trouble`: why the last check or apply came to nothing.
    """

    files: list[str]
    reviews: list[ReviewAnswer]
    check: CheckAnswer | None
    sandbox_result: dict[str, Any] | None
    trouble: Trouble | None


class AppliedAnswer(ProposalAnswer):
    sync: dict[str, Any]


class DiffAnswer(ResponseModel):
    diff: str
    truncated: bool


class PairAnswer(ResponseModel):
    """null: not there. `left_out` says why a text is not told."""

    path: str
    base: str | None
    head: str | None
    left_out: str | None


class PlanAnswer(ResponseModel):
    """The report of `automata plan -f json`."""

    model_config = ConfigDict(extra="allow")
    version: int
    flows: list[dict[str, Any]]
