"""Specs and values in colour, by Pygments: classes in, no script, no style of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer, YamlLexer

from automata.flow.yamldump import to_readable_yaml
from automata.http.bodies import encode

MAX_COLOURED = 64 * 1024  # characters; a larger text is shown plain, since colouring it would take the page's time
MAX_SHOWN = 256 * 1024
MAX_VALUE_COLOURED = 8 * 1024

_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


def spec_yaml(spec: Mapping[str, Any]) -> str:
    """A version's spec as YAML, in the order it was written in; comments are not part of a version."""
    return _yaml(encode(spec))


@lru_cache(maxsize=64)
def _yaml(spec: bytes) -> str:
    return to_readable_yaml(json.loads(spec), fast=len(spec) >= MAX_COLOURED)


@lru_cache(maxsize=64)
def highlight_yaml(text: str) -> Markup:
    """YAML as HTML, its tokens in classes of the style sheet."""
    return _coloured(text, YamlLexer(), MAX_COLOURED)


def plain_json(value: Any) -> Markup:
    """Any JSON value, indented, without colours: for pages that show many."""
    return _cut(value if isinstance(value, str) else _indented(value))


def highlight_json(value: Any) -> Markup:
    """Any JSON value, indented; a plain text as it is."""
    text = value if isinstance(value, str) else _indented(value)
    if isinstance(value, str):
        return _cut(text)
    return _json(text)


@lru_cache(maxsize=512)
def _json(text: str) -> Markup:
    return _coloured(text, JsonLexer(), MAX_VALUE_COLOURED)


def _indented(value: Any) -> str:
    return json.dumps(json.loads(encode(value)), indent=2, ensure_ascii=False)


def _coloured(text: str, lexer: Any, most: int) -> Markup:
    if len(text) > most:
        return _cut(text)
    return Markup(highlight(text, lexer, _FORMATTER).rstrip("\n"))  # noqa: S704 - Pygments escapes every token


def _cut(text: str) -> Markup:
    if len(text) <= MAX_SHOWN:
        return escape(text)
    return escape(text[:MAX_SHOWN]) + f"\n… {len(text) - MAX_SHOWN:,} more characters; the API has them all"
