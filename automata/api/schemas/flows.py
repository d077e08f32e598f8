"""Flows, their versions, and where a version comes from."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from automata.http.bodies import ResponseModel


class FlowAnswer(ResponseModel):
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


class ProposalOrigin(ResponseModel):
    number: int
    title: str
    branch: str
    author: str
    head_sha: str
    merge_sha: str | None
    applied_by: str | None = Field(description="Null: it was merged with Git.")
    applied_at: AwareDatetime | None


class CheckOrigin(ResponseModel):
    """What `automata check` said of exactly the merge that was made."""

    id: int
    passed: bool
    at: AwareDatetime
    failed: list[str]
    stages: list[dict[str, Any]] | None


class ApprovalOrigin(ResponseModel):
    by: str
    comment: str
    at: AwareDatetime


class Provenance(ResponseModel):
    """How a version came to be; `means` says it in words."""

    origin: Literal["proposal", "merge", "push", "files", "earlier", "api"]
    means: str
    proposal: ProposalOrigin | None
    check: CheckOrigin | None
    approvals: list[ApprovalOrigin]


class ProvenanceAnswer(Provenance):
    run: dict[str, Any]
    version: dict[str, Any]
    commit: dict[str, Any] | None


class VersionSummary(ResponseModel):
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
