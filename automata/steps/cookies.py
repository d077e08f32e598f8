"""The cookies of one chain of redirects, by RFC 6265: a login that sets one and redirects expects it back.

They live as long as the chain and go nowhere else. There is no list of public suffixes here: a `Domain` has at least
two labels, and a cookie goes only where the chain leads, to hosts that are vetted like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from yarl import URL

from automata.steps.addresses import parse_host
from automata.steps.contract import HttpRequest, HttpResponse

MAX_COOKIES = 50
MAX_COOKIE_CHARS = 4_096
MAX_HEADER_CHARS = 8_192

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Cookie:
    """`host_only`: it goes to `domain` itself and to no host below it."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool

    def fits(self, url: URL) -> bool:
        """Whether a request to `url` carries it."""
        host = url.raw_host or ""
        same_host = host == self.domain if self.host_only else _below(host, self.domain)
        return same_host and _inside(url.raw_path or "/", self.path) and (url.scheme == "https" or not self.secure)


class Jar:
    """The cookies of one chain."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def __bool__(self) -> bool:
        return bool(self._cookies)

    def take(self, url: str, response: HttpResponse) -> None:
        """Remember what an answer sets, and forget what it takes back."""
        now = _date(response.header("date")) or datetime.now(UTC)
        for name, value in response.headers:
            if name.lower() == "set-cookie" and (found := _parse(value, URL(url), now)):
                cookie, over = found
                key = (cookie.domain, cookie.path, cookie.name)
                self._cookies.pop(key, None)
                if not over and len(self._cookies) < MAX_COOKIES:
                    self._cookies[key] = cookie

    def give(self, request: HttpRequest, own: str) -> tuple[tuple[str, str], ...]:
        """The headers of a request with the cookies for its address; `own` is the `Cookie` that the flow wrote for it.

        One that was set in the chain replaces the flow's of the same name. Longer paths come first (RFC 6265, 5.4).
        """
        url = URL(request.url)
        fitting = sorted((one for one in self._cookies.values() if one.fits(url)), key=lambda one: -len(one.path))
        others = tuple(pair for pair in request.headers if pair[0].lower() != "cookie")
        names = {cookie.name for cookie in fitting}
        kept = [pair for pair in _pairs(own) if pair.partition("=")[0].strip() not in names]
        text = "; ".join([*kept, *(f"{cookie.name}={cookie.value}" for cookie in fitting)])
        return (*others, ("Cookie", text)) if text and len(text) <= MAX_HEADER_CHARS else others


def _pairs(header: str) -> list[str]:
    return [pair.strip() for pair in header.split(";") if pair.strip()]


def _parse(text: str, url: URL, now: datetime) -> tuple[Cookie, bool] | None:
    """A cookie, and whether it is one to be forgotten; None for one that browsers would not take either."""
    pair, _, rest = text.partition(";")
    name, equals, value = pair.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or len(text) > MAX_COOKIE_CHARS or _CONTROL.search(text):
        return None
    attributes = _attributes(rest)
    host, domain = url.raw_host or "", attributes.get("domain", "").lstrip(".").lower()
    if domain and domain != host and not (_below(host, domain) and "." in domain):
        return None
    secure = "secure" in attributes
    if secure and url.scheme != "https":
        return None
    path = attributes.get("path", "")
    path = path if path.startswith("/") else _folder(url.raw_path)
    return Cookie(name, value, domain or host, not domain, path, secure), _is_over(attributes, now)


def _attributes(text: str) -> Mapping[str, str]:
    """The last of each name counts."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_over(attributes: Mapping[str, str], now: datetime) -> bool:
    """`Max-Age` goes before `Expires`."""
    age = attributes.get("max-age", "")
    if re.fullmatch(r"-?[0-9]{1,19}", age):
        return int(age) <= 0
    expires = _date(attributes.get("expires"))
    return expires is not None and expires <= now


def _date(text: str | None) -> datetime | None:
    try:
        # RFC 6265 has dates with hyphens too: `Wed, 21-Oct-2015 07:28:00 GMT`.
        at = parsedate_to_datetime(re.sub(r"(\d{1,2})-(\w{3})-(\d{2,4})", r"\1 \2 \3", text or ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _below(host: str, domain: str) -> bool:
    """Whether `host` is `domain` or below it; an address is below nothing."""
    return host == domain or (host.endswith(f".{domain}") and _is_name(host))


def _is_name(host: str) -> bool:
    try:
        return isinstance(parse_host(host), str)
    except ValueError:
        return False


def _inside(path: str, folder: str) -> bool:
    if not path.startswith(folder):
        return False
    return len(path) == len(folder) or folder.endswith("/") or path[len(folder)] == "/"


def _folder(path: str) -> str:
    """The default path of a cookie: that of the request up to its last slash."""
    return path[: path.rfind("/")] or "/" if path.startswith("/") else "/"
