"""The API as the CLI sees it: JSON in, JSON out, and every failure as one of our errors with its exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from automata.errors import AutomataError, Conflict, Diagnostic, Invalid, Missing, Refused, Unavailable, Usage

if TYPE_CHECKING:
    import httpx

CONNECT_SEC = 5.0
ANSWER_SEC = 30.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PAGE = 200

given_token: ContextVar[str] = ContextVar("given_token", default="")  # by --token


class Api:
    """A connection to `/api/v1`; use as a context manager. `get` and the others raise the errors of automata.errors."""

    def __init__(self, url: str | None = None) -> None:
        import httpx

        from automata.settings import load

        settings = load(api_url=url, token=given_token.get() or None)
        self.url = settings.api_url.rstrip("/")
        host = _host(self.url)
        # A proxy is for the world outside: one that the environment names cannot reach this machine's loopback.
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            timeout=httpx.Timeout(ANSWER_SEC, connect=CONNECT_SEC),
            trust_env=host not in LOOPBACK,
            headers={"Accept": "application/json"} | _credential(settings.token),
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, *path: str, wait_sec: float = 0, **query: Any) -> Any:
        """The JSON at `path` (its parts are quoted). `wait_sec` is a long poll and lengthens the time limit."""
        if wait_sec:
            query["wait_sec"] = wait_sec
        return self._send("GET", path, query, timeout=ANSWER_SEC + wait_sec)

    def post(self, *path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """POST a JSON object; the JSON of the answer, None where it has none."""
        return self._send("POST", path, {}, body=body or {}, headers=headers)

    def deliver(
        self, *path: str, content: bytes, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> tuple[Any, bool]:
        """POST bytes as they are; what came of it, and whether that is new."""
        answer = self._ask("POST", path, query, content=content, headers=headers)
        return _content(answer, self.url), answer.status_code == 201

    def delete(self, *path: str) -> None:
        """DELETE what is at `path`."""
        self._send("DELETE", path, {})

    def items(self, *path: str, limit: int, **query: Any) -> Iterator[Any]:
        """Up to `limit` items of a paged list, page by page."""
        cursor = None
        while limit > 0:
            page = self.get(*path, limit=min(limit, PAGE), cursor=cursor, **query)
            yield from page["items"][:limit]
            limit -= len(page["items"])
            if not (cursor := page.get("next_cursor")):
                return

    def _send(self, method: str, path: tuple[str, ...], query: Mapping[str, Any], **more: Any) -> Any:
        return _content(self._ask(method, path, query, **more), self.url)

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, Any],
        *,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_SEC,
    ) -> httpx.Response:
        import httpx

        # httpx takes dots for a way through the path: `token revoke ..` would ask for something else.
        if nameless := [part for part in path if part in ("", ".", "..")]:
            raise Usage(f"there is nothing called {nameless[0]!r}")
        address = "/" + "/".join(quote(part, safe="") for part in path)
        params = {name: value for name, value in query.items() if value is not None}
        try:
            return self._http.request(
                method,
                address,
                params=params,
                json=body,
                content=content,
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=CONNECT_SEC),
            )
        except httpx.TimeoutException as error:
            raise Unavailable(f"the API at {self.url} did not answer in time", code="api_timeout") from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the API at {self.url} cannot be reached: {error}",
                code="api_unreachable",
                hint="Start one with `automata up`, or name another with --api-url or AUTOMATA_API_URL.",
            ) from error


def _credential(token: str) -> dict[str, str]:
    token = token.strip()
    if not token:
        return {}
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Usage("AUTOMATA_TOKEN is no token.", code="bad_token", hint="`automata token create` makes one.")
    return {"Authorization": f"Bearer {token}"}


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Usage(f"{url!r} is not the URL of an API", hint="Like http://127.0.0.1:8080")
    return parts.hostname


def _content(answer: httpx.Response, url: str) -> Any:
    if answer.status_code == 204:
        return None
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.is_success and content is not None:
        return content
    if isinstance(content, dict) and "code" in content:
        raise problem(content, answer.status_code)
    raise Unavailable(
        f"{url} answered {answer.status_code}, and not as an Automata API does",
        code="not_an_api",
        hint="Is another server listening there? Name the API with --api-url.",
    )


def problem(content: Mapping[str, Any], status: int) -> AutomataError:
    """The error that a problem+json document (RFC 9457) stands for."""
    diagnostics = [
        Diagnostic(
            code=str(item.get("code", "")),
            message=str(item.get("detail", "")),
            line=int(item.get("line", 0)),
            column=int(item.get("column", 0)),
            pointer=str(item.get("pointer", "")),
            suggestion=item.get("suggestion"),
        )
        for item in content.get("errors", ())
    ]
    code, hint = str(content["code"]), content.get("hint")
    if code == "unauthenticated":
        hint = "Set AUTOMATA_TOKEN, or give --token; `automata token create` makes one where the database is."
    return _kind(status)(
        str(content.get("detail") or content.get("title") or f"the API answered {status}"),
        code=code,
        hint=hint,
        pointer=content.get("pointer"),
        details=content.get("details") or {},
        diagnostics=diagnostics,
    )


def _kind(status: int) -> type[AutomataError]:
    known: dict[int, type[AutomataError]] = {400: Usage, 401: Refused, 403: Refused, 404: Missing, 409: Conflict}
    if status in known:
        return known[status]
    return Invalid if 400 <= status < 500 and status != 429 else Unavailable
