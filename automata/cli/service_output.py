"""What a service says while it runs: one format for all of it, from the first line to the last.

Events go to stdout and logs to stderr, and whoever collects them sees one stream. Where logs are JSON
(AUTOMATA_LOG_FORMAT), events and errors are lines of that shape as well, and so are Python's own warnings and the
trace of a crash. The first admin token alone goes to stderr: results are kept and handed on, and it is nobody's result.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from automata.cli.output import Format, report_by, say, say_json
from automata.errors import AutomataError
from automata.settings import Settings
from automata.settings_fields import variable

ADMIN_NOTICE = "Admin token, shown only once (`automata token rotate admin` makes another):"

_SERVICES = frozenset({"api", "controller", "migrate", "orchestrator", "scheduler", "up", "worker"})

Tell = Callable[..., None]  # takes the event, its words and its facts

log = logging.getLogger("automata")


def begin_early(words: Sequence[str]) -> None:
    """Log JSON where the environment asks for it and `words` name a service, before anything of it is read: an error in
    its flags or its settings has the format of all that would have followed."""
    if _SERVICES.intersection(words[:1]) and os.environ.get(variable("log_format")) == "json":
        begin_logs(Settings(log_format="json"))


def begin_logs(settings: Settings, *, quiet: Sequence[str] = ()) -> None:
    """Log as the settings say. Loggers that `quiet` names are heard from `warning` on."""
    from automata.telemetry import configure_logs

    configure_logs(settings.log_level, settings.log_format, quiet=quiet)
    logging.captureWarnings(True)
    if settings.log_format == "json":
        report_by(_log_error)
        sys.excepthook = _log_crash
        sys.unraisablehook = lambda hook: _log_crash(hook.exc_type, hook.exc_value, hook.exc_traceback)
        threading.excepthook = lambda hook: _log_crash(hook.exc_type, hook.exc_value, hook.exc_traceback)


def teller(settings: Settings, output: Format) -> Tell:
    """How events are told: as JSON where programs read them, or logs are JSON; else in words."""
    return _tell_json if output is Format.JSON or settings.log_format == "json" else _tell


def tell_token(tell: Tell, token: str) -> None:
    """Show the first admin token, on stderr."""
    if tell is _tell_json:
        say_json(_event("admin token", ADMIN_NOTICE.rstrip(":"), token=token), indent=None, stderr=True)
    else:
        say(f"{ADMIN_NOTICE}\n{token}", stderr=True)


def _tell(event: str, words: str, **_: Any) -> None:
    say(f"{event:<10} {words}")


def _tell_json(event: str, words: str, **facts: Any) -> None:
    say_json(_event(event, words, **facts), indent=None)


def _event(event: str, words: str, **facts: Any) -> dict[str, Any]:
    from automata.telemetry import timestamp

    return {"time": timestamp(), "level": "info", "logger": log.name, "event": event, "message": words, **facts}


def _log_error(error: AutomataError) -> None:
    details = {"code": error.code, "hint": error.hint, "diagnostics": [str(finding) for finding in error.diagnostics]}
    log.error("%s", error.message, extra={name: value for name, value in details.items() if value})


def _log_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """A crash that nothing caught, with its trace; an interruption is none."""
    if error is not None and not issubclass(kind, KeyboardInterrupt):
        log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
