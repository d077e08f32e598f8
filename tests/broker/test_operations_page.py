"""The page that operators read says the numbers that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from automata import telemetry
from automata.broker import backoff, message, topology

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "sentence",
    [
        f"tried again after {backoff.FIRST_SEC:g} to {backoff.MAX_SEC:g} s",
        f"finds work by polling for {backoff.SILENT_SEC:g} s",
        f"came back more than {topology.DELIVERY_LIMIT} times",
        f"Work queues hold {topology.MAX_QUEUED:,} messages",
        f"holds {topology.MAX_DEAD:,} and drops the oldest",
        f"at most {message.MAX_BYTES:,} bytes and {message.MAX_IDS} ids",
        "RabbitMQ {}.{} or later".format(*topology.FIRST_WITH_QUORUM),
    ],
)
def test_each_number_is_the_one_in_force(sentence: str) -> None:
    assert sentence in " ".join(PAGE.split())


def test_every_metric_of_the_broker_is_explained() -> None:
    names = {line.split()[2] for line in telemetry.metrics_text().decode().splitlines() if line.startswith("# HELP")}
    of_the_broker = {name for name in names if name.startswith("automata_broker_") and not name.endswith("_created")}
    assert of_the_broker
    assert [name for name in sorted(of_the_broker) if f"`{name}`" not in PAGE] == []
