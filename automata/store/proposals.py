"""Proposals, their checks and their reviews, each bound to the commits that were looked at; the newest come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from automata.errors import Conflict, Missing
from automata.store.database import Connection
from automata.store.json_codec import dumps

State = Literal["DRAFT", "PENDING_REVIEW", "APPLIED", "REJECTED", "CLOSED"]
OPEN: tuple[State, ...] = ("DRAFT", "PENDING_REVIEW")
ENDED: tuple[State, ...] = ("APPLIED", "REJECTED", "CLOSED")
MAX_PROPOSALS = 500


@dataclass(frozen=True, slots=True)
class Binding:
    """What a check or a review is of: full SHAs, the tree that the merge makes, and a hash of the base's policy."""

    head: str
    base: str
    tree: str
    policy: str


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """`merge_sha` is the commit that applied it; `number` is how people call it; for `check_id`
    and `review_ids` see AppliedMerge. `makers`: what let in those who made or submitted it (proposals/participants.py).
    """

    id: UUID
    number: int
    source_id: UUID
    branch: str
    title: str
    author: str
    state: State
    head_sha: str
    merge_sha: str | None
    ended_by: str | None
    ended_at: datetime | None
    created_at: datetime
    updated_at: datetime
    check_id: int | None
    review_ids: list[int]
    makers: list[str]


@dataclass(frozen=True, slots=True)
class CheckRow:
    """`report` is that of `automata check`."""

    id: int
    head: str
    base: str
    tree: str
    policy: str
    passed: bool
    report: Any
    created_at: datetime

    @property
    def binding(self) -> Binding:
        """What was looked at."""
        return Binding(self.head, self.base, self.tree, self.policy)


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A verdict of a person on a proposal as it was then; `identity` is what let them in, None for a mere claim."""

    id: int
    head: str
    base: str
    tree: str
    policy: str
    approved: bool
    by: str
    comment: str
    created_at: datetime
    identity: str | None = None

    @property
    def binding(self) -> Binding:
        """What was looked at."""
        return Binding(self.head, self.base, self.tree, self.policy)


@dataclass(frozen=True, slots=True)
class AppliedMerge:
    """How a proposal came into its base. `by` None: it was merged with Git. `commits` are those that it brought.

    `check_id` and `review_ids` are the check and the reviews of exactly this merge, where there are any.
    """

    merge_sha: str
    commits: list[str]
    by: str | None = None
    check_id: int | None = None
    review_ids: list[int] = field(default_factory=list)


_ROW = sql.SQL(
    "id, number, source_id, branch, title, author, state, head_sha, merge_sha, ended_by, ended_at, created_at,"
    " updated_at, check_id, review_ids, makers"
)
_CHECK = sql.SQL("id, head, base, tree, policy, passed, report, created_at")
_REVIEW = sql.SQL("id, head, base, tree, policy, approved, by, comment, created_at, identity")


async def open_proposal(
    conn: Connection, source_id: UUID, branch: str, *, head: str, title: str, author: str
) -> ProposalRow:
    """The open proposal of a branch, made on first sight; a push moves its head and takes nothing else of it."""
    query = sql.SQL(
        "INSERT INTO proposals (source_id, branch, head_sha, title, author)"
        " VALUES (%(source)s, %(branch)s, %(head)s, %(title)s, %(author)s)"
        " ON CONFLICT (source_id, branch) WHERE ended_at IS NULL"
        " DO UPDATE SET head_sha = excluded.head_sha, updated_at = now()"
        " WHERE proposals.head_sha <> excluded.head_sha RETURNING {}"
    ).format(_ROW)
    values = {"source": source_id, "branch": branch, "head": head, "title": title, "author": author}
    async with conn.cursor(row_factory=class_row(ProposalRow)) as cursor:
        await cursor.execute(query, values)
        if row := await cursor.fetchone():
            return row
        await cursor.execute(
            sql.SQL(
                "SELECT {} FROM proposals WHERE source_id = %(source)s AND branch = %(branch)s AND ended_at IS NULL"
            ).format(_ROW),
            values,
        )
        row = await cursor.fetchone()
    if row is None:
        raise Conflict("The proposal was ended at this moment.", code="proposal_ended", hint="Look again.")
    return row


async def list_proposals(
    conn: Connection, source_id: UUID, *, ended: bool = False, before: int | None = None, limit: int = MAX_PROPOSALS
) -> list[ProposalRow]:
    """The newest first; only those that are open unless `ended`, and with a lower number than `before`."""
    async with conn.cursor(row_factory=class_row(ProposalRow)) as cursor:
        await cursor.execute(
            sql.SQL(
                "SELECT {} FROM proposals WHERE source_id = %s AND (%s OR ended_at IS NULL)"
                " AND (%s::bigint IS NULL OR number < %s)"
                " ORDER BY number DESC LIMIT %s"
            ).format(_ROW),
            [source_id, ended, before, before, limit],
        )
        return await cursor.fetchall()


async def list_heads(conn: Connection, source_id: UUID) -> set[tuple[str, str]]:
    """(branch, head) of all proposals, open and ended: seeing one of these again says nothing new."""
    cursor = await conn.execute("SELECT branch, head_sha FROM proposals WHERE source_id = %s", [source_id])
    return {(branch, head) for branch, head in await cursor.fetchall()}


async def find_proposal(conn: Connection, source_id: UUID, key: str) -> ProposalRow:
    """By its number, or by its branch (the newest of it). Raises Missing.

    A number is a number first: else a branch of that name, which anybody may push, would stand in for the proposal.
    """
    number = int(key) if key.isascii() and key.isdigit() and len(key) < 19 else None
    async with conn.cursor(row_factory=class_row(ProposalRow)) as cursor:
        await cursor.execute(
            sql.SQL(
                "SELECT {} FROM proposals WHERE source_id = %s AND (number = %s OR branch = %s)"
                " ORDER BY number IS NOT DISTINCT FROM %s DESC, number DESC LIMIT 1"
            ).format(_ROW),
            [source_id, number, key, number],
        )
        if row := await cursor.fetchone():
            return row
    raise Missing(
        f"There is no proposal {key!r}.", code="no_proposal", hint="automata proposal list shows those there are."
    )


async def lock_proposal(conn: Connection, id: UUID) -> ProposalRow:
    """Be the only one to change it until the transaction ends. Raises Missing."""
    async with conn.cursor(row_factory=class_row(ProposalRow)) as cursor:
        await cursor.execute(sql.SQL("SELECT {} FROM proposals WHERE id = %s FOR UPDATE").format(_ROW), [id])
        if row := await cursor.fetchone():
            return row
    raise Missing("There is no such proposal.", code="no_proposal")


async def set_state(conn: Connection, id: UUID, state: State, *, by: str | None = None) -> None:
    """The caller holds `lock_proposal`, and has seen that the change is one that may be."""
    await conn.execute(
        "UPDATE proposals SET state = %(state)s, updated_at = now(),"
        " ended_by = CASE WHEN %(ended)s THEN %(by)s END, ended_at = CASE WHEN %(ended)s THEN now() END"
        " WHERE id = %(id)s",
        {"id": id, "state": state, "by": by, "ended": state in ENDED},
    )


async def set_applied(conn: Connection, id: UUID, applied: AppliedMerge) -> None:
    """It is merged. The caller holds `lock_proposal`."""
    await set_state(conn, id, "APPLIED", by=applied.by)
    await conn.execute(
        "UPDATE proposals SET merge_sha = %(merge_sha)s, commits = %(commits)s::text[], check_id = %(check_id)s,"
        " review_ids = %(review_ids)s::bigint[] WHERE id = %(id)s",
        {"id": id, **asdict(applied)},
    )


async def rename_proposal(conn: Connection, id: UUID, title: str) -> None:
    """Give it another title."""
    await conn.execute("UPDATE proposals SET title = %s, updated_at = now() WHERE id = %s", [title, id])


async def add_check(conn: Connection, id: UUID, bound: Binding, *, passed: bool, report: Mapping[str, Any]) -> CheckRow:
    """Keep the report of a check of exactly `bound`."""
    return await _one(
        conn,
        CheckRow,
        sql.SQL(
            "INSERT INTO proposal_checks (proposal_id, head, base, tree, policy, passed, report)"
            " VALUES (%(id)s, %(head)s, %(base)s, %(tree)s, %(policy)s, %(passed)s, %(report)s) RETURNING {}"
        ).format(_CHECK),
        {"id": id, **asdict(bound), "passed": passed, "report": dumps(report)},
    )


async def add_makers(conn: Connection, id: UUID, makers: Sequence[str]) -> None:
    """These have had a hand in it. The caller holds `lock_proposal`, or is the only one who knows of it."""
    await conn.execute(
        "UPDATE proposals SET makers = ARRAY(SELECT DISTINCT maker FROM unnest(makers || %s::text[]) AS maker)"
        " WHERE id = %s AND NOT makers @> %s::text[]",
        [list(makers), id, list(makers)],
    )


async def add_review(
    conn: Connection,
    id: UUID,
    bound: Binding,
    *,
    approved: bool,
    by: str,
    comment: str,
    identity: str | None = None,
) -> ReviewRow:
    """Keep the verdict of `by` on exactly `bound`."""
    return await _one(
        conn,
        ReviewRow,
        sql.SQL(
            "INSERT INTO proposal_reviews (proposal_id, head, base, tree, policy, approved, by, comment, identity)"
            " VALUES (%(id)s, %(head)s, %(base)s, %(tree)s, %(policy)s, %(approved)s, %(by)s, %(comment)s,"
            " %(identity)s) RETURNING {}"
        ).format(_REVIEW),
        {"id": id, **asdict(bound), "approved": approved, "by": by, "comment": comment, "identity": identity},
    )


async def copy_review(conn: Connection, id: UUID, review: ReviewRow) -> ReviewRow:
    """A review that was given elsewhere, as a row of its own."""
    return await add_review(conn, id, review.binding, approved=review.approved, by=review.by, comment=review.comment)


async def list_checks(conn: Connection, id: UUID, limit: int = 20) -> list[CheckRow]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(CheckRow)) as cursor:
        await cursor.execute(
            sql.SQL("SELECT {} FROM proposal_checks WHERE proposal_id = %s ORDER BY id DESC LIMIT %s").format(_CHECK),
            [id, limit],
        )
        return await cursor.fetchall()


async def list_reviews(conn: Connection, id: UUID, limit: int = 100) -> list[ReviewRow]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(ReviewRow)) as cursor:
        await cursor.execute(
            sql.SQL("SELECT {} FROM proposal_reviews WHERE proposal_id = %s ORDER BY id DESC LIMIT %s").format(_REVIEW),
            [id, limit],
        )
        return await cursor.fetchall()


async def was_ended(conn: Connection, source_id: UUID, branch: str, head: str) -> bool:
    """Whether a proposal of this very commit came to an end already: seeing it again is no new one."""
    cursor = await conn.execute(
        "SELECT 1 FROM proposals WHERE source_id = %s AND branch = %s AND head_sha = %s AND ended_at IS NOT NULL",
        [source_id, branch, head],
    )
    return await cursor.fetchone() is not None


T = TypeVar("T")


async def _one(conn: Connection, kind: type[T], query: sql.Composed, values: Mapping[str, Any]) -> T:
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(query, values)
        row = await cursor.fetchone()
    assert row is not None
    return row
