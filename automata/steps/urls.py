"""URLs: the one parser that builder, redirects and transport share, so that none of them is fooled alone."""

from __future__ import annotations

import re

from yarl import URL

SCHEMES = frozenset({"http", "https"})

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_BLANKS = " \t\r\n"


def parse_url(text: str) -> URL:
    """An absolute http(s) URL, normalised to ASCII. Raises ValueError with one sentence.

    Blanks inside the path and query are escaped; controls, backslashes and blanks in the authority are refused.
    """
    url = _parse(text.strip(_BLANKS))
    if url.scheme not in SCHEMES:
        raise ValueError(f"`{redacted(url)}` does not start with http:// or https://.")
    if not url.raw_host or not url.port:
        raise ValueError(f"`{redacted(url)}` names no host and port to call.")
    if _FORBIDDEN.search(url.raw_host):
        raise ValueError(f"`{url.raw_host}` is not a host name.")
    return url


def join_url(base: str, location: str) -> URL:
    """Where a redirect leads: `location`, relative or not, seen from `base`. Raises ValueError.

    Without its fragment, which is not sent, and its userinfo, which a server has no business choosing.
    """
    joined = URL(base).join(_parse(location.strip(_BLANKS)))
    return parse_url(str(joined)).with_user(None).with_fragment(None)


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
