"""A GitHub to test against, strict where the real one is: made from the pages of its REST API, version 2022-11-28, on
pulls, reviews, issue comments, commit statuses, collaborators, pagination and rate limits. It holds a bare repository,
and merges in it with git. What it does not know is a 404, as there; what is not documented is an error of the test.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from automata.proposals.forges.github import GitHub
from tests.proposals.repo import Repo

OWNER, NAME, TOKEN = "acme", "flows", "ghp_double_0123456789"
REPO = f"{OWNER}/{NAME}"
_TAKES = {
    "pulls": {"title", "head", "base", "body", "maintainer_can_modify", "draft", "head_repo", "issue"},
    "pull": {"title", "body", "state", "base", "maintainer_can_modify"},
    "merge": {"commit_title", "commit_message", "sha", "merge_method"},
    "status": {"state", "target_url", "description", "context"},
    "comment": {"body"},
}

_METHODS = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}


@dataclass
class GitHubDouble:
    """`bare` is the repository; `me` whose token it is. `fail` tells what shall go wrong next."""

    bare: Path
    me: str = "automata-bot"
    is_app: bool = False
    page: int = 100
    may_write: set[str] = field(default_factory=lambda: {"bob", "ada", "carol"})
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    said: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    logins: dict[str, str] = field(default_factory=lambda: {"ada@example.com": "ada", "bob@example.com": "bob"})
    asked: list[tuple[str, str]] = field(default_factory=list)
    methods: set[str] = field(default_factory=lambda: {"merge"})  # of merging, that the repository allows
    queue: bool = False  # the base takes changes from a merge queue alone
    wrong: list[str] = field(default_factory=list)  # what a client of the documentation would not have sent
    _faults: list[tuple[str, str, Any]] = field(default_factory=list)
    _url: str = ""

    def fail(self, method: str, part: str, how: Any) -> None:
        """The next request of this method whose path has `part`: a Response; "lost": done, and the answer cut off."""
        self._faults.append((method, part, how))

    def review(self, number: int, login: str, state: str = "APPROVED", commit: str | None = None) -> None:
        rows = self.said.setdefault(number, [])
        at = f"2026-01-05T09:{len(rows):02}:00Z"
        commit = commit or self._head(self.pulls[number]["branch"])
        rows.append({"id": 80 + len(rows), "user": {"login": login, "type": "User"}, "body": "fine", "state": state,
                     "commit_id": commit, "submitted_at": at})  # fmt: skip

    def opened(self, branch: str, login: str = "ada", base: str = "main") -> int:
        number = len(self.pulls) + 1
        self.pulls[number] = {"branch": branch, "base": base, "login": login, "state": "open", "merged": None,
                              "title": branch, "body": ""}  # fmt: skip
        return number

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self._url
        finally:
            await runner.cleanup()

    # -- requests --------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        lost = False
        for fault in list(self._faults):
            method, part, how = fault
            if method == request.method and part in request.path:
                self._faults.remove(fault)
                if how != "lost":
                    return how if isinstance(how, web.StreamResponse) else await how(request)
                lost = True
                break
        answer = await self._route(request)
        if lost:
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _route(self, request: web.Request) -> web.Response:
        if refusal := self._refused(request):
            return refusal
        path = request.path.strip("/").split("/")
        if path == ["user"]:
            if self.is_app:
                return _message(403, "Resource not accessible by integration")
            return web.json_response({"login": self.me, "id": 7, "type": "User"})
        body: dict[str, Any] = {}
        if request.method in ("POST", "PATCH", "PUT"):
            try:
                body = json.loads(await request.text())
            except ValueError:
                return _message(400, "Problems parsing JSON")
        if path[:3] != ["repos", OWNER, NAME]:
            return _message(404, "Not Found")
        answer = (
            self._read(request, path[3:]) if request.method == "GET" else self._write(request.method, path[3:], body)
        )
        return answer or _message(404, "Not Found")

    def _refused(self, request: web.Request) -> web.Response | None:
        headers = request.headers
        if headers.get("Accept") != "application/vnd.github+json" or "X-GitHub-Api-Version" not in headers:
            self.wrong.append(f"headers of {request.method} {request.path}")
        if not headers.get("User-Agent"):
            return _message(403, "Request forbidden by administrative rules.")
        if headers.get("X-GitHub-Api-Version") != "2022-11-28":
            return _message(400, "The API version is not supported")
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return _message(401, "Bad credentials")
        return None

    def _read(self, request: web.Request, path: list[str]) -> web.Response | None:
        match path:
            case ["pulls"]:
                return self._list_pulls(request)
            case ["pulls", number] if self._known(number):
                return web.json_response(self._pull(int(number)))
            case ["pulls", number, "commits"] if self._known(number):
                return self._paged(request, self._commits(int(number)))
            case ["commits"]:
                return self._paged(request, self._commits_of(request.query["author"]))
            case ["pulls", number, "reviews"] if self._known(number):
                return self._paged(request, self.said.get(int(number), []))
            case ["issues", number, "comments"] if self._known(number):
                return self._paged(request, [one for one in self.comments.values() if one["issue"] == int(number)])
            case ["collaborators", login, "permission"]:
                level = "write" if login.lower() in self.may_write else "read"
                return web.json_response({"permission": level, "role_name": level, "user": {"login": login}})
        return None

    def _write(self, method: str, path: list[str], body: dict[str, Any]) -> web.Response | None:
        match method, path:
            case "POST", ["pulls"]:
                return self._open(self._fields("pulls", body))
            case "PATCH", ["pulls", number] if self._known(number):
                self.pulls[int(number)]["state"] = self._fields("pull", body)["state"]
                return web.json_response(self._pull(int(number)))
            case "PUT", ["pulls", number, "merge"] if self._known(number):
                return self._merge(int(number), self._fields("merge", body))
            case "POST", ["issues", number, "comments"] if self._known(number):
                return self._comment(int(number), self._fields("comment", body))
            case "PATCH", ["issues", "comments", id] if int(id) in self.comments:
                return self._recomment(int(id), self._fields("comment", body))
            case "POST", ["statuses", sha]:
                return self._status(sha, self._fields("status", body))
        return None

    # -- what it does ----------------------------------------------------------------------------------------------

    @property
    def _login(self) -> str:
        return f"{self.me}[bot]" if self.is_app else self.me

    def _fields(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.wrong += [f"{kind}: {name}" for name in body.keys() - _TAKES[kind]]
        return body

    def _known(self, number: str) -> bool:
        return number.isdigit() and int(number) in self.pulls

    def _git(self, *words: str) -> str:
        done = self._run("-c", "user.name=GitHub", "-c", "user.email=noreply@github.com", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(self.bare), *words], capture_output=True, text=True, check=False)

    def _head(self, branch: str) -> str:
        return self._git("rev-parse", f"refs/heads/{branch}")

    def _pull(self, number: int) -> dict[str, Any]:
        one = self.pulls[number]
        return {
            "number": number,
            "html_url": f"https://github.com/{OWNER}/{NAME}/pull/{number}",
            "state": one["state"],
            "title": one["title"],
            "user": {"login": one["login"], "type": "User"},
            "head": {"ref": one["branch"], "sha": one.get("head") or self._head(one["branch"])},
            "base": {"ref": one["base"], "sha": self._head(one["base"])},
            "merged": one["merged"] is not None,
            "merge_commit_sha": one["merged"],
        }

    def _list_pulls(self, request: web.Request) -> web.Response:
        head, base = request.query.get("head"), request.query.get("base")
        if head is not None and not head.startswith(f"{OWNER}:"):
            self.wrong.append(f"head={head}: it is user:ref-name")
        found = [
            self._pull(number)
            for number, one in self.pulls.items()
            if one["state"] == request.query.get("state", "open")
            and (head is None or head == f"{OWNER}:{one['branch']}")
            and (base is None or base == one["base"])
        ]
        return self._paged(request, found)

    def _open(self, body: dict[str, Any]) -> web.Response:
        if any(one["branch"] == body["head"] and one["state"] == "open" for one in self.pulls.values()):
            return _message(422, "Validation Failed", f"A pull request already exists for {OWNER}:{body['head']}.")
        if len(body["title"]) > 256:
            return _message(422, "Validation Failed", "title is too long (maximum is 256 characters)")
        number = self.opened(body["head"], self._login, body["base"])
        self.pulls[number] |= {"title": body["title"], "body": body.get("body", "")}
        return web.json_response(self._pull(number), status=201)

    def _merge(self, number: int, body: dict[str, Any]) -> web.Response:
        one = self.pulls[number]
        if one["state"] != "open":
            return _message(405, "Pull Request is not mergeable")
        if self.queue:
            return _message(405, "Changes must be made through the merge queue")
        method = body.get("merge_method", "merge")
        if method not in self.methods:
            return _message(405, f"{_METHODS[method]} are not allowed on this repository.")
        head, base = self._head(one["branch"]), self._head(one["base"])
        if "sha" in body and body["sha"] != head:
            return _message(409, "Head branch was modified. Review and try the merge again.")
        done = self._run("merge-tree", "--write-tree", base, head)  # fmt: skip
        if done.returncode:
            return _message(405, "Pull Request has merge conflicts")
        message = f"{body['commit_title']}\n\n{body['commit_message']}"
        tree = done.stdout.split()[0]
        if method == "merge":
            made = self._git("commit-tree", tree, "-p", base, "-p", head, "-m", message)
        elif method == "squash":
            made = self._git("commit-tree", tree, "-p", base, "-m", message)
        else:
            made = self._rebased(base, head)
        self._git("update-ref", f"refs/heads/{one['base']}", made, base)
        one |= {"state": "closed", "merged": made, "head": head}
        return web.json_response({"sha": made, "merged": True, "message": "Pull Request successfully merged"})

    def _rebased(self, base: str, head: str) -> str:
        tip = base
        for commit in self._git("rev-list", "--reverse", f"{base}..{head}").splitlines():
            tree = self._git("rev-parse", f"{commit}^{{tree}}")  # as long as the base has not moved
            words = self._git("log", "-1", "--format=%B", commit)
            tip = self._git("commit-tree", tree, "-p", tip, "-m", words)
        return tip

    def _commits(self, number: int) -> list[dict[str, Any]]:
        one = self.pulls[number]
        lines = self._git("log", "--reverse", "--format=%H %ae %ce", f"{one['base']}..{one['branch']}").splitlines()
        told = []
        for sha, author, committer in (line.split() for line in lines):
            people = {"author": author, "committer": committer}
            logins = {key: self.logins.get(mail) for key, mail in people.items()}
            told.append({"sha": sha, **{key: {"login": login} if login else None for key, login in logins.items()}})
        return told[:250]

    def _commits_of(self, mail: str) -> list[dict[str, Any]]:
        """On the default branch, by the address of their author."""
        lines = self._git("log", "--format=%H %ae", "main").splitlines()
        login = self.logins.get(mail)
        who = {"login": login} if login else None
        return [{"sha": sha, "author": who, "committer": who} for sha, ae in map(str.split, lines) if ae == mail]

    def _comment(self, number: int, body: dict[str, Any]) -> web.Response:
        if not body["body"] or len(body["body"]) > 65_536:
            return _message(422, "Validation Failed", "body is too long (maximum is 65536 characters)")
        id = 1000 + len(self.comments)
        user = {"login": self._login, "type": "Bot" if self.is_app else "User"}
        self.comments[id] = {"id": id, "issue": number, "body": body["body"], "user": user}
        return web.json_response(self.comments[id], status=201)

    def _recomment(self, id: int, body: dict[str, Any]) -> web.Response:
        if self.comments[id]["user"]["login"] != self._login:
            return _message(403, "Must have admin rights to Repository.")
        self.comments[id]["body"] = body["body"]
        return web.json_response(self.comments[id])

    def _status(self, sha: str, body: dict[str, Any]) -> web.Response:
        if body.get("state") not in ("error", "failure", "pending", "success"):
            return _message(422, "Validation Failed", "state is not included in the list")
        if len(body.get("description") or "") > 140:
            return _message(422, "Validation Failed", "description is too long (maximum is 140 characters)")
        kind = self._run("cat-file", "-t", sha)
        if kind.stdout.strip() != "commit":
            return _message(422, f"No commit found for SHA: {sha}")
        self.statuses.append({"sha": sha, **body})
        return web.json_response({"id": len(self.statuses), **body}, status=201)

    def _paged(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        size = min(int(request.query.get("per_page", 30)), self.page)
        page = int(request.query.get("page", 1))
        answer = web.json_response(items[(page - 1) * size : page * size])
        if page * size < len(items):
            following = str(request.url.update_query(page=page + 1))
            answer.headers["Link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
        return answer


def _message(status: int, text: str, *errors: str) -> web.Response:
    told: dict[str, Any] = {"message": text, "documentation_url": "https://docs.github.com/rest"}
    if errors:
        told["errors"] = [{"resource": "PullRequest", "code": "custom", "message": one} for one in errors]
    return web.json_response(told, status=status)


@asynccontextmanager
async def forge(repo: Repo, **more: Any) -> AsyncIterator[tuple[GitHubDouble, GitHub, list[float]]]:
    double, slept = GitHubDouble(repo.bare, **more), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with double.running() as url:
        yield double, GitHub(url, REPO, TOKEN, sleep=sleep), slept
    assert double.wrong == [], "what the documentation does not know was sent"
