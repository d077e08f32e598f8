"""URLs: the one parser that builder, redirects and transport share, so that none of them is fooled alone.

A URL is sent as it was written. `%2F` and `/`, `%27` and `'` are the same to some and not to others, and a signature is
over the characters: nothing that may stand in a URL is escaped, unescaped or put in another form, but for the scheme
and the host, which have one form. Only what cannot be sent at all is escaped: blanks, characters beyond ASCII, a `%`
that begins no escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_plus

from yarl import URL

SCHEMES = frozenset({"http", "https"})

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_BLANKS = " \t\r\n"
_ADDRESS = re.compile(r"https?://[^\s'\"<>()]+", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AUTHORITY = re.compile(r"[^/?#]*")
_PATH = re.compile(r"[^?#]*")
# Everything that RFC 3986 knows (and `[` and `]`, which servers take everywhere) but a `%` that begins no escape.
_UNSENDABLE = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]|%(?![0-9A-Fa-f]{2})")


@lru_cache(maxsize=512)  # of a request it is asked twice, by who builds it and by who sends it
def parse_url(text: str) -> URL:
    """An absolute http(s) URL in ASCII, its path and query as they were written. Raises ValueError with one sentence.

    Blanks inside the path and query are escaped; controls, backslashes and blanks in the authority are refused.
    """
    text = text.strip(_BLANKS)
    url = _parse(text)
    if url.scheme not in SCHEMES:
        raise ValueError(f"`{redacted(url)}` does not start with http:// or https://.")
    if not url.raw_host or not url.port:
        raise ValueError(f"`{redacted(url)}` names no host and port to call.")
    if _FORBIDDEN.search(url.raw_host):
        raise ValueError(f"`{url.raw_host}` is not a host name.")
    return URL(f"{url.scheme}://{url.raw_authority}{_tail(text)}", encoded=True)


def _tail(text: str) -> str:
    """All that follows the authority, so that it can be sent."""
    rest = text.partition("://")[2]
    rest = _AUTHORITY.sub("", rest, count=1)
    beside, found, fragment = rest.partition("#")
    path, mark, query = beside.partition("?")
    # A blank of a query is `+`, as forms and browsers write it.
    return sendable(path or "/") + mark + sendable(query.replace(" ", "+")) + found + sendable(fragment)


def sendable(text: str) -> str:
    """Part of a URL as it is sent: as it was written, but for what cannot stand in a URL."""
    return _UNSENDABLE.sub(lambda found: quote(found[0], safe="", errors="surrogateescape"), text)


def with_pairs(url: URL, pairs: Sequence[tuple[str, str]]) -> URL:
    """The URL with these parameters behind those that it has; one of the same name is replaced. All others stay as
    they were written."""
    if not pairs:
        return url
    names = {name for name, _ in pairs}
    kept = [part for part in url.raw_query_string.split("&") if part and _name(part) not in names]
    added = URL.build(query=list(pairs)).raw_query_string
    base = str(url.with_query(None).with_fragment(None))
    return URL(f"{base}?{'&'.join([*kept, added])}", encoded=True)


def _name(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


def join_url(base: str, location: str) -> URL:
    """Where a redirect leads: `location`, relative or not, seen from `base`. Raises ValueError.

    Without its fragment, which is not sent, and its userinfo, which a server has no business choosing.
    """
    return parse_url(_joined(URL(base, encoded=True), location.strip(_BLANKS))).with_user(None).with_fragment(None)


def _joined(base: URL, location: str) -> str:
    """RFC 3986, 5.2: only the path of a relative reference is taken apart, so that all else stays as written."""
    if _SCHEME.match(location):
        return location
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    rest = _PATH.sub("", location, count=1)
    path = location[: len(location) - len(rest)]
    if not path:
        query = f"?{base.raw_query_string}" if base.raw_query_string and not rest.startswith("?") else ""
        return f"{base.scheme}://{base.raw_authority}{base.raw_path}{query}{rest}"
    whole = path if path.startswith("/") else base.raw_path.rpartition("/")[0] + "/" + path
    return f"{base.scheme}://{base.raw_authority}{_without_dots(whole)}{rest}"


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    return "/".join([*kept, ""] if segments[-1] in (".", "..") else kept)


def host_port(text: str) -> tuple[str, int]:
    """The host as the URL spells it (ASCII, no brackets) and the port. Raises ValueError."""
    url = parse_url(text)
    return url.raw_host or "", url.port or 0


def redacted(url: URL | str) -> str:
    """A URL that may be shown: no userinfo, no query, no fragment, at most 200 characters."""
    try:
        shown = str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        # Too broken to be taken apart: show only what cannot hold credentials.
        shown = str(url).partition("?")[0].rpartition("@")[2]
    return shown if len(shown) <= 200 else shown[:200] + "…"


def without_queries(text: str, url: str) -> str:
    """A message that may be shown: libraries write addresses into theirs, with the query of `url` and all."""
    query = URL(url, encoded=True).raw_query_string
    for form in (query, unquote_plus(query)):
        text = text.replace(form, "…") if form else text
    return _ADDRESS.sub(lambda found: redacted(found[0]), text)


def _parse(text: str) -> URL:
    if any(char < " " or char in "\x7f\\" for char in text):
        raise ValueError("The URL holds a control character or a backslash.")
    try:
        text.encode()
        return URL(text)
    except UnicodeEncodeError:
        raise ValueError("The URL holds half of a surrogate pair, which is no character.") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"`{redacted(text)}` is not a URL: {error}") from None
