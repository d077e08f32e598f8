"""Jinja's environment and the words that templates have for values. Everything is escaped unless it is Markup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from automata import build
from automata.http.bodies import encode
from automata.web.code import highlight_json, plain_json
from automata.web.icons import icon

STATIC = Path(__file__).parent / "static"
_JSON_IN_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


@cache
def environment() -> Environment:
    """The templates' environment, made once."""
    environment = Environment(
        loader=PackageLoader("automata.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "exact": exact,
        "minute": minute,
        "short": short,
        "duration": duration,
        "embedded": embedded,
        "json": json_text,
        "pretty": highlight_json,
        "plain": plain_json,
        "first_line": first_line,
        "plural": plural,
    }
    environment.globals |= {"icon": icon, "asset": asset, "product_version": build()}
    return environment


@cache
def asset_digest() -> str | None:
    """None where `make web` (or the build of the wheel) has not been."""
    try:
        return str(json.loads((STATIC / "assets.json").read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None


def asset(name: str) -> str:
    """The address of a static file, which changes with the file."""
    return f"/static/{name}?{asset_digest()}"


def ago(moment: datetime | None) -> Markup | str:
    """`3 min ago` with the exact time as its title; the page's script keeps it true."""
    if moment is None:
        return Markup('<span class="muted">&ndash;</span>')
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return Markup('<time data-relative datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), exact(moment), _words(seconds)
    )


def _words(seconds: float) -> str:
    size = abs(seconds)
    if size < 2:
        return "now"
    for below, unit, word in _SCALE:
        if size < below:
            text = f"{int(size // unit)} {word}"
            break
    return f"in {text}" if seconds < 0 else f"{text} ago"


_SCALE = (
    (60, 1, "s"),
    (3600, 60, "min"),
    (86_400, 3600, "h"),
    (86_400 * 60, 86_400, "d"),
    (float("inf"), 86_400 * 30, "mo"),
)


def exact(moment: datetime | None) -> str:
    """A moment to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def minute(moment: datetime | None) -> str:
    """For a field of type datetime-local, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if moment else ""


def short(identity: object) -> str:
    """What tells a UUIDv7 or a commit from its neighbours: the end of the one, the beginning of the other.

    A commit keeps its `-dirty`, and what names no commit is whole.
    """
    text = str(identity)
    commit, dash, rest = text.partition("-")
    return text[-12:] if len(text) == 36 else commit[:10] + dash + rest


def duration(span: float | timedelta | None) -> str:
    """Seconds as people say them: `120 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`."""
    if span is None:
        return ""
    seconds = max(0.0, span.total_seconds() if isinstance(span, timedelta) else span)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 86_400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 86_400)} d {int(seconds % 86_400 // 3600)} h"


def embedded(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it can end the element."""
    return Markup(encode(value).decode("utf-8").translate(_JSON_IN_HTML))  # noqa: S704 - has no <, > or &


def json_text(value: Any) -> str:
    """A value as JSON."""
    return encode(value).decode("utf-8")


def first_line(text: str | None) -> str:
    """The first line of a text, at most 200 characters."""
    return (text or "").strip().split("\n", 1)[0][:200]


def plural(count: int, word: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`, `12,345 runs`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def labels_text(labels: Mapping[str, str]) -> str:
    """`name=value, ...`"""
    return ", ".join(f"{escape(name)}={escape(value)}" for name, value in labels.items())
