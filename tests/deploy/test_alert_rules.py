"""Each alert fires for its cause, and none in an installation that is well: judged by Prometheus' own promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promtool import find_promtool

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
MINUTES = 60
WELL = {
    'up{job="automata", instance="api:8080"}': "1x60",
    'automata_database_up{instance="api:8080"}': "1x60",
    'automata_processes_alive{part="api"}': "2x60",
    'automata_processes_alive{part="worker"}': "2x60",
    'automata_processes_alive{part="orchestrator"}': "2x60",
    'automata_processes_alive{part="scheduler"}': "2x60",
    'automata_processes_alive{part="controller"}': "1x60",
    'automata_queue_tasks{queue="default", state="ready", instance="api:8080"}': "3x60",
    'automata_queue_oldest_ready_seconds{queue="default"}': "1x60",
    "automata_schedule_overdue_seconds": "0x60",
    "automata_dead_letters_open": "0x60",
    'automata_runs_finished_total{status="SUCCEEDED"}': "0+100x60",
    'automata_runs_finished_total{status="FAILED"}': "0+1x60",
    "automata_leases_lost_total": "5x60",
    'automata_notifications_total{result="failed"}': "2x60",
    'automata_sync_last_success_timestamp_seconds{source="s", environment="prod"}': "0+60x60",
    'automata_sync_pending_since_timestamp_seconds{source="s", environment="prod"}': "0x60",
    'automata_sync_drifted_flows{source="s", environment="prod"}': "0x60",
    "automata_database_pool_waiting": "0x60",
}
# Alert -> what is otherwise: a series, and its values or None where it is gone.
CAUSES: list[tuple[str, dict[str, str | None]]] = [
    ("AutomataDatabaseUnreadable", {'automata_database_up{instance="api:8080"}': "0x60"}),
    ("AutomataDatabaseUnreadable", {'automata_database_up{instance="api:8080"}': None}),
    ("AutomataNoWorker", {'automata_processes_alive{part="worker"}': "0x60"}),
    ("AutomataNoOrchestrator", {'automata_processes_alive{part="orchestrator"}': "0x60"}),
    ("AutomataNoScheduler", {'automata_processes_alive{part="scheduler"}': "0x60"}),
    ("AutomataNoController", {'automata_processes_alive{part="controller"}': "0x60"}),
    ("AutomataProcessUnscraped", {'up{job="automata", instance="api:8080"}': "0x60"}),
    ("AutomataQueueStuck", {'automata_queue_oldest_ready_seconds{queue="default"}': "400x60"}),
    ("AutomataSchedulerBehind", {"automata_schedule_overdue_seconds": "200x60"}),
    ("AutomataDeadLetters", {"automata_dead_letters_open": "1x60"}),
    ("AutomataRunsFail", {'automata_runs_finished_total{status="FAILED"}': "0+50x60"}),
    ("AutomataWorkersLost", {"automata_leases_lost_total": "0+5x60"}),
    ("AutomataNotificationsFail", {'automata_notifications_total{result="failed"}': "0+1x60"}),
    ("AutomataSyncOld", {'automata_sync_last_success_timestamp_seconds{source="s", environment="prod"}': "0x60"}),
    ("AutomataSyncBlocked", {'automata_sync_pending_since_timestamp_seconds{source="s", environment="prod"}': "1x60"}),
    ("AutomataFlowsDrifted", {'automata_sync_drifted_flows{source="s", environment="prod"}': "1x60"}),
    ("AutomataPoolExhausted", {"automata_database_pool_waiting": "3x60"}),
]


def names() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def _case(fired: set[str], change: dict[str, str | None]) -> dict[str, Any]:
    """A case of promtool: of all alerts these fire at the end, whatever their labels."""
    series = WELL | change
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) > 0',
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if name in fired else [],
            }
            for name in names()
        ],
    }


def test_every_alert_has_a_cause_here() -> None:
    assert {alert for alert, _ in CAUSES} == set(names())


@pytest.fixture(scope="module")
def promtool() -> Path:
    return find_promtool()


def test_each_alert_fires_for_its_cause_alone_and_none_where_all_is_well(promtool: Path, tmp_path: Path) -> None:
    cases = [_case(set(), {}), *(_case({alert}, change) for alert, change in CAUSES)]
    rules = tmp_path / "rules.test.yaml"
    rules.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases}))
    done = subprocess.run([promtool, "test", "rules", rules], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_never_fires_is_noticed(promtool: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.test.yaml"
    case = _case({"AutomataNoScheduler"}, {})
    rules.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}))
    assert subprocess.run([promtool, "test", "rules", rules], capture_output=True).returncode == 1
