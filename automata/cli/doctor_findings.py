"""What `automata doctor` found: one line of its answer, and what an error or a surprise is as such a line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from automata.errors import AutomataError, Unavailable, Usage

CHECK_SEC: Final = 20.0
OF_A_PART: Final = "settings: "  # before the name of a part that would refuse a setting

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `todo` says what to do, `exit_code` is that of the command when it failed."""

    check: str
    state: State
    found: str
    todo: str | None = None
    exit_code: int = Unavailable.exit_code


async def checked(name: str, check: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """What `check` finds; what it raises is a finding too, whatever that is."""
    try:
        async with asyncio.timeout(CHECK_SEC):
            return await check()
    except AutomataError as error:
        return [wrong(name, error)]
    except TimeoutError:
        return [Finding(name, "failed", f"no answer within {CHECK_SEC:g} s", "Look whether it hangs or is overloaded.")]
    except Exception as error:
        todo = "This is a fault of Automata: report it with the output of `automata version`."
        return [Finding(name, "failed", f"cannot be checked: {type(error).__name__}: {error}", todo)]


def wrong(check: str, error: AutomataError, todo: str = "Look at what it names, and try again.") -> Finding:
    """An error as a finding that failed; `todo` is for one that does not say what to do itself."""
    return Finding(check, "failed", error.message, error.hint or todo, error.exit_code)


def wrong_setting(check: str, error: AutomataError) -> Finding:
    """The same where a setting caused it, whatever kind of error the part that it is for makes of it."""
    return replace(wrong(check, error, "Correct it (docs/cli.md)."), exit_code=Usage.exit_code)


def told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Without what a part says of a setting where the check of what it is for says the same; the exit code stays."""
    kept = []
    for finding in findings:
        others = [other for other in findings if other is not finding and other.found == finding.found]
        if not (finding.check.startswith(OF_A_PART) and others):
            codes = [other.exit_code for other in others if other.check.startswith(OF_A_PART)]
            kept.append(replace(finding, exit_code=min([finding.exit_code, *codes])))
    return kept
