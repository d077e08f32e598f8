"""Metrics are a contract: the page, the alert rules and the dashboard name those that there are, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.core import Metric

from automata import telemetry
from tests.deploy.test_manifests import is_command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
BROKER_PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "automata.json"
NAME = re.compile(r"\bautomata_[a-z0-9_]+")


def metrics() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    for registry in (telemetry.REGISTRY, telemetry.SYSTEM):
        for collector in list(registry._collector_to_names):
            for metric in collector.describe():
                yield metric, tuple(getattr(collector, "_labelnames", ()))


def shown(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def series(metric: Metric) -> set[str]:
    """The names under which it can be asked for."""
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
    return {metric.name + end for end in ends}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> dict[str, str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = {f"panel {one['title']} {target['refId']}": target["expr"] for one in panels for target in one["targets"]}
    return shown | {f"alert {rule['alert']}": rule["expr"] for rule in rules()}


def test_every_metric_has_help_and_a_line_with_its_labels() -> None:
    lines = {found[1]: line for line in (BROKER_PAGE + PAGE).splitlines() if (found := re.match(r"\| `(\w+)`", line))}
    for metric, labels in metrics():
        assert metric.documentation
        line = lines.get(shown(metric), "")
        assert line, f"{shown(metric)} is not explained in docs/metrics.md"
        assert [label for label in labels if f"`{label}`" not in line] == [], shown(metric)


def test_the_page_names_no_metric_that_is_not_there() -> None:
    there = {shown(metric) for metric, _ in metrics()}
    assert set(NAME.findall(PAGE)) - there == set()


def test_alerts_and_dashboard_ask_for_series_and_labels_that_there_are() -> None:
    there = {name: labels for metric, labels in metrics() for name in series(metric)}
    given = {"instance", "job", "le"}
    for where, expression in expressions().items():
        names = set(NAME.findall(expression))
        assert names or re.match(r"up\{", expression), where  # Prometheus has that one itself
        assert names - there.keys() == set(), where
        labels = {label for name in names for label in there[name]} | given
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
        grouped = {word for group in re.findall(r"by \(([^)]*)\)", expression) for word in re.findall(r"\w+", group)}
        assert (matched | grouped) - labels == set(), where


def test_parentheses_of_expressions_close() -> None:
    for where, expression in expressions().items():
        for pair in ("()", "{}", "[]"):
            assert expression.count(pair[0]) == expression.count(pair[1]), where


def test_an_alert_says_what_is_wrong_and_names_commands_that_there_are() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        words = rule["annotations"]
        assert words["summary"], rule["alert"]
        for command in re.findall(r"`automata ([^`]+)`", words["description"]):
            assert is_command(command.split()), command


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
