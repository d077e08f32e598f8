"""How every command ends: an error becomes a message and an exit code, here and nowhere else."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable

import typer

from automata.cli.output import report
from automata.errors import AutomataError, Unavailable, Usage

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
    except OSError as error:
        return _reported(_disk_fault(error))
    except Exception as error:
        return _reported(_crash(error))


def _reported(error: AutomataError) -> int:
    report(error)
    return error.exit_code


def _disk_fault(error: OSError) -> Unavailable:
    """A full disk, a folder without rights: what the system says of it, with the file."""
    place = f"{error.filename}: " if error.filename else ""
    return Unavailable(
        f"The system refused it: {place}{error.strerror or error}.",
        code="system",
        hint=f"Mend that and try again; {_trace(error)}",
    )


def _crash(error: Exception) -> AutomataError:
    """A fault of ours. Where it happened is for us; the reader gets one sentence and the file to send."""
    return AutomataError(
        f"Automata broke off with {type(error).__name__}: this is a fault of it.",
        code="internal",
        hint=f"Please report it; {_trace(error)}",
    )


def _trace(error: Exception) -> str:
    """Write down where an error happened; says where that can be read."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="automata-", suffix=".txt", delete=False) as file:
            file.write(text)
    except OSError:
        return text.strip().splitlines()[-1][:500]  # nowhere to write, as on a full disk
    return f"the details are in {file.name}"


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
