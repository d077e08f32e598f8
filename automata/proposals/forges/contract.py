"""What proposals ask of a forge: pull requests, their reviews, statuses of commits, comments and merges."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

MAX_DESCRIPTION_CHARS = 140  # of a status: what GitHub takes


StatusState = Literal["pending", "success", "failure", "error"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An open pull request within the repository. `author` is a login; `head` what it is at, by the forge."""

    number: int
    url: str
    author: str
    head: str


@dataclass(frozen=True, slots=True)
class Review:
    """The last word of somebody who may write to the repository: of which commit, and when."""

    login: str
    commit: str
    approved: bool
    at: datetime
    words: str = ""

    @property
    def by(self) -> str:
        """As proposals name people; the mail is the one that commits made on GitHub bear."""
        return f"{self.login} <{self.login}@users.noreply.github.com>"


@dataclass(frozen=True, slots=True)
class PullReviews:
    """`hands`: logins, in lower case, of all who wrote, committed or opened it, so that none of them has a say."""

    said: tuple[Review, ...] = ()
    contributors: frozenset[str] = field(default_factory=frozenset)


class Forge(Protocol):
    """Raises Unavailable when it does not answer, Refused when it does not let us, Conflict when somebody was first."""

    async def pull(self, branch: str, base: str) -> PullRequest | None: ...
    async def open_pull(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """The one there is, or a new one."""
        ...

    async def close_pull(self, pull: PullRequest) -> None: ...
    async def reviews(self, pull: PullRequest) -> PullReviews: ...
    async def status(self, sha: str, context: str, state: StatusState, description: str, url: str) -> None: ...
    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        """One comment of ours that begins with `marker`, made or changed in place."""
        ...

    async def merge(self, pull: PullRequest, head: str, title: str, message: str) -> str:
        """The merge commit; Conflict `head_moved` when the branch is not at `head`."""
        ...
