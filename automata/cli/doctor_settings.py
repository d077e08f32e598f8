"""The settings of `automata doctor`: every part is asked whether it would take them, none is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from automata.cli.doctor_findings import OF_A_PART, Finding, wrong_setting
from automata.errors import AutomataError, Usage
from automata.settings import Settings, unknown_variables


def settings_findings(settings: Settings) -> list[Finding]:
    """One line where all is well, else one for each part that would refuse."""
    findings = [*_names()]
    for part, ask in _PARTS.items():
        try:
            ask(settings)
        except AutomataError as error:
            findings.append(wrong_setting(OF_A_PART + part, error))
    return findings or [Finding("settings", "ok", "every AUTOMATA_* variable is known, and every part takes its own")]


def _names() -> list[Finding]:
    if not (unknown := unknown_variables()):
        return []
    words = ", ".join(f"{name} (did you mean {near}?)" if near else name for name, near in unknown.items())
    todo = "Correct the name, or take it away (docs/cli.md): what is misspelt is off without a word."
    return [Finding("settings", "failed", f"nothing reads {words}", todo, Usage.exit_code)]


def _api(settings: Settings) -> None:
    from automata.broker.local import LocalBroker
    from automata.cli.site import create_site
    from automata.store.database import Database

    create_site(Database.at(settings.database_url or "postgresql:///none"), LocalBroker(), settings)


def _metrics(settings: Settings) -> None:
    from automata.access.exposure import shows_metrics

    shows_metrics(settings)


def _worker(settings: Settings) -> None:
    from automata.steps.egress import EgressPolicy

    EgressPolicy(settings.allow_loopback, settings.egress_allow, settings.egress_deny)


def _controller(settings: Settings) -> None:
    from automata.cli.composition import CONTROLLER, compose

    if settings.repo or settings.sources:
        compose(settings, {CONTROLLER}, branch=os.environ.get("AUTOMATA_BRANCH"))


def _broker(settings: Settings) -> None:
    if settings.amqp_url:
        from automata.broker.rabbitmq import addresses

        addresses(settings.amqp_url)


def _traces(settings: Settings) -> None:
    from automata.tracing import open_tracing

    if tracing := open_tracing(settings):
        tracing.close()


_PARTS: Mapping[str, Callable[[Settings], None]] = {
    "api": _api,
    "metrics": _metrics,
    "worker": _worker,
    "controller": _controller,
    "broker": _broker,
    "traces": _traces,
}
