"""The one tree of errors. Each class says what the reader can do next; the exit codes are those of the CLI.

Exit codes (docs/cli.md): 0 ok, 1 check failed, 2 changes, 3 usage or configuration, 4 infrastructure,
5 refused by a guard, 6 stale revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about one place in one file.

    `line` and `column` are 1-based, 0 where there is no place (a whole file); `pointer` is an RFC 6901 JSON
    pointer into the document; `code` is stable (`AF012`) and listed in docs/errors.md.
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    pointer: str = ""
    suggestion: str | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}: {self.code} {self.message}{hint}" if place else f"{self.code} {self.message}{hint}"


@dataclass(eq=False)
class AutomataError(Exception):
    """`message` is one sentence for a person, `code` a stable word for a program, `hint` what to do about it."""

    message: str
    code: str = "error"
    hint: str | None = None
    pointer: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: Sequence[Diagnostic] = ()

    exit_code = 4
    status = 500

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


@dataclass(eq=False)
class Invalid(AutomataError):
    """What was given is wrong: fix the file, the input or the request."""

    code: str = "invalid"
    exit_code = 1
    status = 422


@dataclass(eq=False)
class Usage(Invalid):
    """The command, flag or configuration is wrong."""

    code: str = "usage"
    exit_code = 3
    status = 400


@dataclass(eq=False)
class Missing(Invalid):
    """What was named does not exist."""

    code: str = "not_found"
    exit_code = 3
    status = 404


@dataclass(eq=False)
class Conflict(AutomataError):
    """Someone was first, or the thing is in a state that forbids this."""

    code: str = "conflict"
    exit_code = 6
    status = 409


@dataclass(eq=False)
class Unavailable(AutomataError):
    """The world is not ready: try later."""

    code: str = "unavailable"
    exit_code = 4
    status = 503


@dataclass(eq=False)
class Busy(Unavailable):
    """More at once than this process takes; nothing was done."""

    code: str = "too_many_requests"
    status = 429


@dataclass(eq=False)
class Refused(AutomataError):
    """A guard said no; `hint` says how to overrule it on purpose."""

    code: str = "refused"
    exit_code = 5
    status = 409
