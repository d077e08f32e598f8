"""GitHub's REST API as a forge, by its version 2022-11-28.

Failure argument. A GET and a status may be sent again; a pull request, a comment and a merge are looked for before they
are made once more, so that a lost answer makes no second one. The merge names the head that was checked: GitHub merges
that or nothing. The token goes to the configured host alone, as redirects are not followed, and stands in no message.
What answers is not trusted: sizes, pages and times are bounded, and a field that is not what the documentation says is
an error of the forge.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import orjson

from automata import __version__
from automata.errors import AutomataError, Conflict, Missing, Refused, Unavailable, Usage
from automata.proposals.forges.contract import PullRequest, PullReviews, Review, StatusState
from automata.report.diagnostics import visible

VERSION = "2022-11-28"
TIMEOUT_SEC = 20.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_PAGES = 30  # of 100
MAX_COMMITS = 250  # the most that a pull request lists
TRIES = 4
FIRST_PAUSE_SEC = 0.5
MAX_PAUSE_SEC = 15.0  # a limit that lasts longer is reported and not waited for
MAX_COMMENT_CHARS = 65_536
MAX_DESCRIPTION_CHARS = 140  # of a status
MAIL_HOST = "users.noreply.github.com"  # of the mails of commits that are made on GitHub
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}(\[bot\])?")
_SHA = re.compile(r"[0-9a-f]{40}")
_VERDICTS = {"APPROVED": True, "CHANGES_REQUESTED": False, "DISMISSED": False}

METHODS = ("merge", "squash", "rebase")
_FORBIDDEN_METHOD = re.compile(r"not allowed on this repository|merge commits|linear history", re.IGNORECASE)

T = TypeVar("T")
Sleep = Callable[[float], Any]


class GitHub:
    """`api` is `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server. Raises Usage."""

    def __init__(self, api: str, repo: str, token: str, *, sleep: Sleep = asyncio.sleep) -> None:
        parts = urlsplit(api)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))
        if not secure or not parts.hostname or parts.query or parts.username:
            raise Usage(f"AUTOMATA_GITHUB_API: {api[:100]!r} is no https address.", code="bad_setting")
        if not _REPO.fullmatch(repo) or repo.endswith(("/.", "/..")):
            raise Usage(f"AUTOMATA_GITHUB_REPO: {repo[:100]!r} is not OWNER/NAME.", code="bad_setting")
        self._root = f"{api.rstrip('/')}/repos/{repo}"
        self._api = api.rstrip("/")
        self._owner = repo.partition("/")[0]
        self._sleep = sleep
        self._headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "User-Agent": f"automata/{__version__}",
            "X-GitHub-Api-Version": VERSION,
        }

    # -- pull requests ---------------------------------------------------------------------------------------------

    async def find_pull(self, branch: str, base: str) -> PullRequest | None:
        """See Forge; `branch` and `base` are in this repository."""
        query = f"?state=open&head={quote(f'{self._owner}:{branch}', safe='')}&base={quote(base, safe='')}&per_page=2"
        pulls = await self._get(f"{self._root}/pulls{query}")
        return _pull(pulls[0]) if pulls else None

    async def open_pull(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """See Forge."""
        if pull := await self.find_pull(branch, base):
            return pull
        try:
            created = await self._send(
                "POST", f"{self._root}/pulls", {"title": title, "head": branch, "base": base, "body": body}
            )
        except (Conflict, Unavailable):
            # Somebody opened it at this moment, or the answer was lost.
            if pull := await self.find_pull(branch, base):
                return pull
            raise
        return _pull(created)

    async def close_pull(self, pull: PullRequest) -> None:
        """See Forge."""
        await self._send("PATCH", f"{self._root}/pulls/{pull.number}", {"state": "closed"})

    async def merge(self, pull: PullRequest, head: str, title: str, message: str) -> str:
        """See Forge: by a merge commit, or by a squash or a rebase where the repository allows no such commits.

        Raises Refused `merge_queue` where the base takes changes from a queue alone.
        """
        refusals: list[Refused] = []
        for method in METHODS:
            try:
                return await self._merge_by(method, pull, head, title, message)
            except Refused as error:
                refusals.append(error)
                if error.code != "not_mergeable" or not _FORBIDDEN_METHOD.search(error.message):
                    raise _queued(pull, error) from error
        raise refusals[0]

    async def _merge_by(self, method: str, pull: PullRequest, head: str, title: str, message: str) -> str:
        body = {"sha": head, "merge_method": method, "commit_title": title, "commit_message": message}
        try:
            merged = await self._send("PUT", f"{self._root}/pulls/{pull.number}/merge", body)
            return _field(lambda: _sha(merged["sha"]))
        except Unavailable:
            # The answer may have been lost behind the merge.
            now = await self._get(f"{self._root}/pulls/{pull.number}")
            if _field(lambda: now["merged"] is True and now["head"]["sha"] == head):
                return _field(lambda: _sha(now["merge_commit_sha"]))
            raise

    # -- reviews ---------------------------------------------------------------------------------------------------

    async def reviews(self, pull: PullRequest) -> PullReviews:
        """See Forge. Raises Refused `too_many_commits` when GitHub does not list all of them."""
        commits = [commit async for commit in self._pages(f"{self._root}/pulls/{pull.number}/commits")]
        if len(commits) >= MAX_COMMITS:
            raise Refused(
                f"GitHub tells no more than {MAX_COMMITS} commits of a pull request, so nobody can tell who wrote it.",
                code="too_many_commits",
                hint="Squash some of them.",
            )
        logins = {place: login for commit in commits for place, login in _logins(commit).items()}
        contributors = {pull.author.lower(), *logins.values()}
        reviews = []
        for login, review in sorted((await self._last_reviews(pull)).items()):
            if login not in contributors and _LOGIN.fullmatch(login) and await self._may_write(login):
                reviews.append(_review(review))
        return PullReviews(tuple(reviews), frozenset(contributors), logins)

    async def _last_reviews(self, pull: PullRequest) -> dict[str, Mapping[str, Any]]:
        """The last verdict of each login, in lower case."""
        last: dict[str, Mapping[str, Any]] = {}
        async for review in self._pages(f"{self._root}/pulls/{pull.number}/reviews"):
            # Who deleted the account has no say; a comment takes nothing back.
            if review.get("state") in _VERDICTS and isinstance(review.get("user"), Mapping):
                last[str(review["user"]["login"]).lower()] = review
        return last

    async def find_login(self, mail: str) -> str:
        """Of somebody with a commit on the default branch: GitHub names accounts by the addresses of commits alone."""
        try:
            commits = await self._get(f"{self._root}/commits?author={quote(mail, safe='')}&per_page=1")
        except (Missing, Conflict):  # the second: the repository is empty
            return ""
        return next(
            (login for commit in commits or () for (_, role), login in _logins(commit).items() if role == "author"), ""
        )

    def login_of(self, mail: str) -> str:
        """Of `123+LOGIN@users.noreply.github.com`, as commits have it that are made on GitHub."""
        name, _, host = mail.lower().rpartition("@")
        return name.rpartition("+")[2] if host == MAIL_HOST else ""

    async def _may_write(self, login: str) -> bool:
        """On a public repository anybody may approve; what counts is who could merge."""
        try:
            answer = await self._get(f"{self._root}/collaborators/{quote(login, safe='')}/permission")
        except Missing:
            return False
        return answer.get("permission") in ("admin", "write")

    # -- telling ---------------------------------------------------------------------------------------------------

    async def set_status(self, sha: str, context: str, state: StatusState, description: str, url: str) -> None:
        """See Forge; a description is cut to what GitHub takes."""
        body = {"state": state, "context": context, "description": _cut(description, MAX_DESCRIPTION_CHARS)}
        if url:
            body["target_url"] = url
        await self._send("POST", f"{self._root}/statuses/{sha}", body, again=True)

    async def comment(self, pull: PullRequest, marker: str, text: str) -> None:
        """See Forge; a text is cut to what GitHub takes."""
        url = f"{self._root}/issues/{pull.number}/comments"
        body = {"body": text[:MAX_COMMENT_CHARS]}
        if (own := await self._own_comment(url, marker)) is not None:
            await self._send("PATCH", f"{self._root}/issues/comments/{own}", body, again=True)
            return
        try:
            await self._send("POST", url, body)
        except Unavailable:
            if await self._own_comment(url, marker) is None:
                raise

    async def _own_comment(self, url: str, marker: str) -> int | None:
        """Anybody may write the marker, so whose comment it is decides."""
        me = await self._myself()
        async for comment in self._pages(url):
            user = comment.get("user") or {}
            ours = user.get("login") == me if me else user.get("type") == "Bot"
            if ours and str(comment.get("body", "")).startswith(marker):
                return int(comment["id"])
        return None

    async def _myself(self) -> str | None:
        """Our login; None for the token of an app's installation, which GitHub does not tell it."""
        try:
            me = await self._get(f"{self._api}/user")
        except (Refused, Missing):
            return None
        return _field(lambda: str(me["login"]))

    # -- the wire --------------------------------------------------------------------------------------------------

    async def _get(self, url: str) -> Any:
        return (await self._ask("GET", url, None, TRIES))[0]

    async def _send(self, method: str, url: str, body: Mapping[str, Any], *, again: bool = False) -> Any:
        return (await self._ask(method, url, body, TRIES if again else 1))[0]

    async def _pages(self, url: str) -> AsyncIterator[Mapping[str, Any]]:
        """All items of a list, by the `next` of the Link header. Raises Unavailable for a list without an end."""
        following: str | None = f"{url}?per_page=100"
        for _ in range(MAX_PAGES):
            items, links = await self._ask("GET", following, None, TRIES)
            if not isinstance(items, list):
                raise _odd("a list was expected")
            for item in items:
                yield item
            following = links.get("next", {}).get("url")
            if not following:
                return
            if not following.startswith(f"{self._api}/"):
                raise _odd("its next page is elsewhere")
        raise _odd(f"a list has over {MAX_PAGES} pages")

    async def _ask(self, method: str, url: str | None, body: Any, tries: int) -> tuple[Any, Mapping[str, Any]]:
        assert url is not None
        pause = FIRST_PAUSE_SEC
        for left in range(tries - 1, -1, -1):
            try:
                return await self._once(method, url, body)
            except Unavailable as error:
                wait = float(error.details.get("retry_after_sec", pause))
                if not left or wait > MAX_PAUSE_SEC:
                    raise
            await self._sleep(wait)
            pause *= 2
        raise AssertionError("unreachable")

    async def _once(self, method: str, url: str, body: Any) -> tuple[Any, Mapping[str, Any]]:
        try:
            async with (
                asyncio.timeout(TIMEOUT_SEC),
                httpx.AsyncClient(headers=self._headers, timeout=TIMEOUT_SEC, trust_env=False) as client,
                client.stream(method, url, json=body) as answer,
            ):
                data = bytearray()
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_ANSWER_BYTES:
                        raise _odd(f"it answers with over {MAX_ANSWER_BYTES >> 20} MiB")
        except (httpx.HTTPError, TimeoutError) as error:
            why = type(error).__name__ if not str(error) else str(error)
            raise Unavailable(f"GitHub does not answer: {why}.", code="forge_unavailable") from None
        content = _json(bytes(data), answer.is_success)
        if answer.is_success:
            return content, {str(rel): link for rel, link in answer.links.items()}
        raise _refusal(answer, content if isinstance(content, Mapping) else {})


def _queued(pull: PullRequest, error: Refused) -> Refused:
    """`error`, or what to do where it is about a merge queue."""
    if "merge queue" not in error.message.lower():
        return error
    return Refused(
        "The base takes changes from its merge queue alone.",
        code="merge_queue",
        hint=f"Add {pull.url} to the queue: the proposal is APPLIED once GitHub has merged it.",
    )


def _refusal(answer: httpx.Response, content: Mapping[str, Any]) -> AutomataError:
    """What a status means; GitHub's own message is part of it."""
    status, words = answer.status_code, visible(_cut(str(content.get("message", "")), 300)).rstrip(".")
    more = "; ".join(
        str(detail.get("message", "")) for detail in content.get("errors", ()) if isinstance(detail, Mapping)
    )
    words = visible(_cut(": ".join(part for part in (words, more) if part), 400)) or f"status {status}"
    wait = _wait(answer)
    if status == 429 or (status == 403 and wait is not None):
        seconds = 60.0 if wait is None else wait
        return Unavailable(
            f"GitHub lets us ask again in {seconds:.0f} s: {words}.",
            code="forge_limit",
            details={"retry_after_sec": seconds},
        )
    if status >= 500:
        return Unavailable(f"GitHub is in trouble ({status}): {words}.", code="forge_unavailable")
    if status == 401:
        return Refused(f"GitHub does not know the token: {words}.", code="forge_token", hint="AUTOMATA_GITHUB_TOKEN")
    if status == 403:
        return Refused(
            f"GitHub does not let the token do that: {words}.",
            code="forge_forbidden",
            hint="docs/github.md says which permissions it needs.",
        )
    if status in (404, 410):
        return Missing(f"GitHub has nothing there, or hides it from the token: {words}.", code="forge_missing")
    if status == 405:
        return Refused(f"GitHub does not merge it: {words}.", code="not_mergeable", hint="The pull request says why.")
    if status == 409:
        return Conflict(f"It moved on GitHub: {words}.", code="head_moved", hint="Look at it again.")
    if status == 422:
        return Conflict(f"GitHub does not take it: {words}.", code="forge_rejected")
    if 300 <= status < 400:
        return Refused(
            "GitHub sends on to another address, which is not given the token.",
            code="forge_moved",
            hint="The repository was renamed? Then AUTOMATA_GITHUB_REPO is the old name.",
        )
    return Refused(f"GitHub refuses it ({status}): {words}.", code="forge_rejected")


def _wait(answer: httpx.Response) -> float | None:
    """Seconds until the limit that was hit ends, by Retry-After or the reset of an empty budget; None: no limit."""
    after = answer.headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return float(after)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return max(0.0, float(reset) - time.time())
    return None


def _json(data: bytes, required: bool) -> Any:
    try:
        return orjson.loads(data) if data else None
    except orjson.JSONDecodeError:
        if required:
            raise _odd("its answer is no JSON") from None
        return None


def _field(read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _odd("a field is not as its documentation says") from None


def _logins(commit: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """In lower case, of who wrote and who committed it, as far as GitHub names them: it does not for unknown mails."""
    sha = _field(lambda: _sha(commit["sha"]))
    people = {role: commit.get(role) for role in ("author", "committer")}
    return {
        (sha, role): str(user["login"]).lower()
        for role, user in people.items()
        if isinstance(user, Mapping) and user.get("login")
    }


def _pull(pull: Mapping[str, Any]) -> PullRequest:
    return _field(
        lambda: PullRequest(
            int(pull["number"]), str(pull["html_url"]), str(pull["user"]["login"]), _sha(pull["head"]["sha"])
        )
    )


def _review(review: Mapping[str, Any]) -> Review:
    return _field(
        lambda: Review(
            login=str(review["user"]["login"]),
            by="{0} <{0}@{1}>".format(review["user"]["login"], MAIL_HOST),
            commit=_sha(review["commit_id"] or "0" * 40),  # GitHub forgot which: then it is of none
            approved=_VERDICTS[review["state"]],
            at=datetime.fromisoformat(review["submitted_at"]),
            comment=_cut(visible(str(review.get("body") or "")), 400),
        )
    )


def _sha(text: Any) -> str:
    if not isinstance(text, str) or not _SHA.fullmatch(text):
        raise _odd("a commit is no SHA")
    return text


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def _odd(what: str) -> Unavailable:
    return Unavailable(f"GitHub answers in a way that is not documented: {what}.", code="forge_odd")
