"""How every command ends: an error becomes a message and an exit code, here and nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from automata.cli.output import report
from automata.errors import AutomataError, Usage

INTERRUPTED = 130  # 128 + SIGINT, as shells count
CLOSED_PIPE = 141  # 128 + SIGPIPE: `automata run list | head` is no error of anyone's


def guarded(command: Callable[[], int | None]) -> int:
    """Run `command`; however it ends becomes a word on stderr and an exit code."""
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except AutomataError as error:
        report(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit as ending:
        # Typer makes a bare exit of a closed pipe.
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
        return _unread()
    except typer.TyperException as error:
        return _misused(error)


def _unread() -> int:
    # Python flushes stdout once more on its way out, and would complain that nobody reads it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return CLOSED_PIPE


def _misused(error: typer.TyperException) -> int:
    """A wrong flag or argument. Typer's own exit code is 2, which here means changes."""
    message = error.format_message()
    if message:  # without arguments, the help has been shown and there is nothing to add
        context = getattr(error, "ctx", None)
        message = message.replace("Value error, ", "").rstrip(".")  # pydantic's words, not ours
        report(Usage(message, hint=f"See {context.command_path if context else 'automata'} --help"))
    return Usage.exit_code
