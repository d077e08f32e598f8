"""Where a version comes from: proposal, check and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from automata.git.names import EARLIER, is_commit
from automata.store.provenance import VersionOrigin

Kind = Literal["proposal", "merge", "push", "files", "earlier", "api"]
MEANS: dict[Kind, str] = {
    "proposal": "proposed, checked and applied through Automata",
    "merge": "proposed on a branch, and merged with Git: Automata did not apply it",
    "push": "pushed without a proposal: no check or approval is known here",
    "files": "read from files that were not committed: no check or approval can be of them",
    "earlier": "changed before the history that was read: its commit, check and approvals are not known",
    "api": "made through the API: there is no commit, check or approval of it",
}


def describe_origin(origin: VersionOrigin) -> dict[str, Any]:
    """Proposal, check and approvals; `origin` and `means` say how the version came to be."""
    kind = _kind(origin)
    return {
        "origin": kind,
        "means": MEANS[kind],
        "proposal": _proposal(origin),
        "check": origin.check and _dated(origin.check),
        "approvals": [_dated(approval) for approval in origin.approvals or ()],
    }


def _kind(origin: VersionOrigin) -> Kind:
    if origin.commit_sha is None:
        return "api"
    if origin.proposal is not None:
        return "proposal" if origin.applied_by else "merge"
    if origin.commit_sha.endswith(EARLIER):
        return "earlier"
    return "push" if is_commit(origin.commit_sha) else "files"


def _dated(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, "at": datetime.fromisoformat(record["at"])}


def _proposal(origin: VersionOrigin) -> dict[str, Any] | None:
    if origin.proposal is None:
        return None
    return {
        "number": origin.proposal,
        "title": origin.title,
        "branch": origin.branch,
        "author": origin.proposed_by,
        "head_sha": origin.head_sha,
        "merge_sha": origin.merge_sha,
        "applied_by": origin.applied_by,
        "applied_at": origin.applied_at,
    }
