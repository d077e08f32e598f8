"""A proposal as plain data: what the CLI and the API answer with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from automata.proposals.status import ProposalStatus
from automata.report.check import stage_report
from automata.report.tests import differing_steps
from automata.store.proposals import CheckRow, ReviewRow


def summary(proposal: ProposalStatus) -> dict[str, Any]:
    """A proposal in a list."""
    row = proposal.row
    return {
        "number": row.number,
        "id": str(row.id),
        "branch": row.branch,
        "title": row.title,
        "author": row.author,
        "state": proposal.state,
        "checks": proposal.checks,
        "conflicted": list(proposal.merge.conflicts),
        "behind": proposal.behind,
        "base": {"branch": proposal.base.branch, "sha": proposal.base.sha},
        "head_sha": proposal.head or row.head_sha,
        "merge_tree": proposal.merge.tree or None,
        "approvals": {"needed": proposal.needed, "by": proposal.approvers},
        "unknown_writers": sorted(proposal.unknown),
        "merge_sha": row.merge_sha,
        "ended_by": row.ended_by,
        "ended_at": row.ended_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def detail(proposal: ProposalStatus) -> dict[str, Any]:
    """With the files, what was said of exactly this, and what the newest check showed (`sandbox_result`)."""
    return {
        **summary(proposal),
        "files": list(proposal.paths),
        "reviews": [review(row) for row in proposal.reviews],
        "check": proposal.check and check(proposal.check),
        "sandbox_result": proposal.check and sandbox_result(proposal.check.report),
    }


def sandbox_result(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report of `automata check`, and in `differences` what its cases expected of each step and found instead."""
    tests = stage_report(report, "test")
    return {**report, "differences": differing_steps(tests) if tests else []}


def check(row: CheckRow) -> dict[str, Any]:
    """What a check was of and said; its report is told elsewhere."""
    return {
        "id": row.id,
        **asdict(row.binding),
        "passed": row.passed,
        "failed": list(row.report.get("failed", ())),
        "created_at": row.created_at,
    }


def review(row: ReviewRow) -> dict[str, Any]:
    """One review; `head` is the commit that it was of."""
    return {
        "by": row.by,
        "approved": row.approved,
        "comment": row.comment,
        "head": row.head,
        "created_at": row.created_at,
    }


def history(rows: Sequence[CheckRow]) -> list[dict[str, Any]]:
    """All checks of a proposal, in the order of `rows`."""
    return [check(row) for row in rows]
