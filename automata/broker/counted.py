"""What a broker counts, and under which label."""

from __future__ import annotations

import logging

from automata import telemetry
from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, TASKS_READY
from automata.broker.message import NotARing

log = logging.getLogger(__name__)

_TOPICS = frozenset({RUNS_PENDING, TASKS_READY, TASKS_COMPLETED, RUNS_FINISHED})


def label(topic: str) -> str:
    """Labels are a closed set, and lanes are free text of authors: all of them count as tasks.ready."""
    if topic in _TOPICS:
        return topic
    return TASKS_READY if topic.startswith(f"{TASKS_READY}.") else "other"


def count(result: str, topic: str, number: int = 1) -> None:
    """`sent` counts messages, `dropped` the ids (or bare rings) that no message carried."""
    telemetry.BROKER_WAKEUPS_SENT.labels(label(topic), result).inc(number)


def heard(topic: str) -> None:
    telemetry.BROKER_WAKEUPS_HEARD.labels(label(topic)).inc()


def poison(kind: str, error: NotARing) -> None:
    telemetry.BROKER_POISON.labels(kind).inc()
    log.warning("broker: a message that is no ring was set aside: %s", error)
