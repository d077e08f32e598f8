"""What proposals ask of a forge: pull requests, their reviews, statuses of commits, comments and merges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

StatusState = Literal["pending", "success", "failure", "error"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An open pull request within the repository. `author` is a login; `head` the SHA that it is at, by the forge."""

    number: int
    url: str
    author: str
    head: str


@dataclass(frozen=True, slots=True)
class Review:
    """The last word of somebody who may write to the repository: of which commit, and when.

    `by` is how proposals name people: `NAME <MAIL>`, with the mail of the commits that this login makes on the forge.
    """

    login: str
    by: str
    commit: str
    approved: bool
    at: datetime
    comment: str = ""


@dataclass(frozen=True, slots=True)
class PullReviews:
    """`contributors`: logins, in lower case, of all who wrote, committed or opened it: none of them has a say.

    `logins`: the login that the forge names for the author or committer of a commit, by (SHA, `author` or `committer`).
    Where it names none, nobody can tell whether that is one of the reviewers.
    """

    reviews: tuple[Review, ...] = ()
    contributors: frozenset[str] = field(default_factory=frozenset)
    logins: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False)


class Forge(Protocol):
    """One repository on a forge.

    Raises Unavailable when it does not answer, Refused when it does not let us, Conflict when somebody was first.
    """

    async def find_pull(self, branch: str, base: str) -> PullRequest | None:
        """The open pull request from `branch` to `base`; None when there is none."""
        ...

    async def open_pull(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """The one there is, or a new one."""
        ...

    async def close_pull(self, pull: PullRequest) -> None:
        """Close it unmerged."""
        ...

    async def reviews(self, pull: PullRequest) -> PullReviews:
        """The last review of everybody who may write and did not contribute."""
        ...

    async def set_status(self, sha: str, context: str, state: StatusState, description: str, url: str) -> None:
        """What is said of a commit under the name `context`; a later status takes the place of an earlier one."""
        ...

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        """One comment of ours that begins with `marker`, made or changed in place."""
        ...

    async def merge(self, pull: PullRequest, head: str, title: str, message: str) -> str:
        """The SHA of the merge commit. Raises Conflict `head_moved` when the branch is not at `head`."""
        ...

    async def find_login(self, mail: str) -> str:
        """The login, in lower case, whose account has this address, by the forge's own word; "" where it says none."""
        ...

    def login_of(self, mail: str) -> str:
        """The login, in lower case, whose commits on the forge have this mail address; "" for any other address."""
        ...
