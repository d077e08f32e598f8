"""What an expression sees while it runs, how it walks a path through it, and how it tells what was missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import nodes

from automata.flow.budget import AbsentError, Budget, TemplateError
from automata.flow.filters import nearest
from automata.flow.lexing import Source
from automata.flow.values import lookup, nearby_keys

Expr = Callable[["Scope"], Any]

AMBIENT_KEY = "__ambient__"
ROOTS = (
    "inputs",
    "steps",
    "run",
    "vars",
    "secrets",
    "item",
    "index",
    "error",
    "failed_step",
    "response",
    "result",
    "webhook",
)


_HTTP_BODY = re.compile(r"response\.body|steps\.[^.\[]+\.outputs(\[[0-9]+\])?\.body")


@dataclass(frozen=True, slots=True)
class Ambient:
    """What `now()` and `uuid()` answer in a render; under `AMBIENT_KEY` in its context, where no template can look."""

    now: Callable[[], datetime]
    uuid: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Reference:
    """One read of the context: `steps.fetch.outputs.orders` is root `steps`, path (fetch, outputs, orders).

    `path` goes as far as it is constant, list positions as text; `offset` counts characters in the template;
    `defaulted` says that the template copes with its absence (`default`, `coalesce`, `is defined`).
    """

    root: str
    path: tuple[str, ...]
    offset: int
    defaulted: bool = False


class Scope:
    """One render: the data, the budget and the loop variables, each in a slot given at compile time."""

    __slots__ = ("budget", "context", "locals")

    def __init__(self, context: Mapping[str, Any], budget: Budget, slots: int) -> None:
        self.context = context
        self.budget = budget
        self.locals: list[Any] = [None] * slots


def written(path: Sequence[Any]) -> str:
    """`steps.fetch.outputs[0]['order id']`: a path as a template would write it."""
    text = str(path[0])
    for key in path[1:]:
        if isinstance(key, str) and key.replace("-", "_").isidentifier():
            text += f".{key}"
        else:
            text += f"[{key!r}]"
    return text if len(text) <= 200 else text[:197] + "..."


def absence(value: Any, path: Sequence[Any], start: int, position: int) -> AbsentError:
    """Where a walk from `value` along `path[start:]` ends; called only after it failed."""
    for end in range(start, len(path)):
        try:
            value = value[path[end]]
        except (KeyError, IndexError, TypeError):
            return AbsentError(written(path[: end + 1]), value, path[end], position)
    return AbsentError(written(path), None, None, position)


def root_path(path: tuple[Any, ...], position: int) -> Expr:
    """Reads a path that begins at a name of the context."""

    def load(scope: Scope) -> Any:
        value: Any = scope.context
        try:
            for key in path:
                value = value[key]
        except (KeyError, IndexError, TypeError):
            raise absence(scope.context, path, 0, position) from None
        return value

    return load


def slot_path(slot: int, path: list[Any], position: int) -> Expr:
    """Reads a path that begins at a variable of the template."""
    keys = path[1:]
    if not keys:
        return lambda scope: scope.locals[slot]

    def load(scope: Scope) -> Any:
        value = scope.locals[slot]
        try:
            for key in keys:
                value = value[key]
        except (KeyError, IndexError, TypeError):
            raise absence(scope.locals[slot], path, 1, position) from None
        return value

    return load


def walk_on(base: Expr, keys: list[Any], position: int) -> Expr:
    """Reads a path that begins at the value of an expression."""

    def load(scope: Scope) -> Any:
        value = base(scope)
        for key in keys:
            try:
                value = lookup(value, key)
            except AbsentError as error:
                raise AbsentError(str(key), error.holder, key, position) from None
        return value

    return load


def constant_key(node: nodes.Node) -> Any:
    """The key of `x.key`, `x['key']` and `x[0]`; None for anything else."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return node.arg.value if type(node.arg.value) in (str, int) else None
    return None


def quoting(error: TemplateError, source: Source) -> TemplateError:
    """Put the expression, as written, behind a message about its values."""
    excerpt = "" if error.position is None else source.excerpt(error.position)
    if excerpt:
        error.message = f"{error.message.removesuffix('.')} in `{excerpt}`."
    return error


def _unreadable(absent: AbsentError) -> str | None:
    """Why a step of type `http` has no `body`, if that is what is missing."""
    if absent.key != "body" or type(absent.holder) is not dict or _HTTP_BODY.fullmatch(absent.what or "") is None:
        return None
    why = absent.holder.get("body_error")
    return why if type(why) is str else None


def explain(absent: AbsentError, source: Source) -> TemplateError:
    """The error for a value that is missing and has no default: the expression as written, and the nearest name."""
    position = absent.position or 0
    excerpt = source.excerpt(position)
    if (why := _unreadable(absent)) is not None:
        return TemplateError(
            f"`{absent.what}` cannot be read in `{excerpt}`: {why}",
            code="AF214",
            hint="`response` of the step says how its body is read; `none` for one that nobody reads.",
            position=position,
        )
    name = f"`{absent.what}`" if absent.key is not None and absent.what else absent.what or "a value"
    message = f"{name} is undefined in `{excerpt}`." if excerpt else f"{name} is undefined."
    hint = nearest(str(absent.key), nearby_keys(absent.holder)) if absent.key is not None else None
    return TemplateError(
        message[0].upper() + message[1:],
        code="AF210",
        hint=hint or "`| default(...)` gives a value for it.",
        position=position,
    )
