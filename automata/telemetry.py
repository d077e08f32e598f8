"""Logs and metrics. Every metric's name, unit and labels are in this one place; labels come from closed sets only."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from automata import __version__

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Beats of an interactive API: below 5 ms all is well, above 10 s a client has given up (a long poll has its own route).
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Steps: a transform takes microseconds in a worker, a call that waits for a person's system minutes.
_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ROWS = (1, 2, 5, 10, 25, 50, 100, 250, 500)

# Not prometheus_client's global registry: two apps in one test process must not share what a third library adds.
REGISTRY = CollectorRegistry()
# What is true of the whole system, however many processes there are: only those that serve the API show it.
SYSTEM = CollectorRegistry()

HTTP_REQUESTS = Counter(
    "automata_http_requests_total",
    "Requests answered, by route template.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "automata_http_request_seconds",
    "Time from a request's head to the end of its answer.",
    ("route",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
HTTP_IN_FLIGHT = Gauge("automata_http_requests_in_flight", "Requests that are being answered.", registry=REGISTRY)
HTTP_REFUSED = Counter(
    "automata_http_refused_total",
    "Requests turned away before their route ran, by problem code.",
    ("code",),
    registry=REGISTRY,
)
RUNS_CREATED = Counter(
    "automata_runs_created_total", "Runs accepted (committed), by trigger.", ("trigger",), registry=REGISTRY
)
HOOK_DELIVERIES = Counter(
    "automata_webhook_deliveries_total",
    "Deliveries of webhooks: created or repeated a run, refused (nothing shows who sent it), invalid in another way.",
    ("result",),
    registry=REGISTRY,
)
NOTIFICATIONS = Counter(
    "automata_notifications_total",
    "Attempts to send a notification: delivered, retried (it will be), failed (given up).",
    ("result",),
    registry=REGISTRY,
)
RUNS_ENDED = Counter(
    "automata_runs_finished_total",
    "Runs that ended, by how: SUCCEEDED, FAILED, CANCELLED.",
    ("status",),
    registry=REGISTRY,
)
STEP_ATTEMPTS = Counter(
    "automata_step_attempts_total",
    "Attempts of steps that a worker made, by step type: succeeded, retried (it will be), failed (for good).",
    ("type", "result"),
    registry=REGISTRY,
)
STEP_SECONDS = Histogram(
    "automata_step_seconds",
    "Time that one attempt of a step took in the worker, from its templates to its outcome.",
    ("type",),
    buckets=_STEP_SECONDS,
    registry=REGISTRY,
)
RESULTS_LATE = Counter(
    "automata_results_late_total",
    "Results that were refused: the lease was lost, or the run cancelled meanwhile.",
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "automata_leases_lost_total",
    "Claims of tasks that an earlier worker was lost with: its lease ran out.",
    registry=REGISTRY,
)
SLOTS = Gauge("automata_worker_slots", "Steps that this worker may run side by side.", registry=REGISTRY)
SLOTS_BUSY = Gauge("automata_worker_slots_busy", "Steps that this worker runs now.", registry=REGISTRY)
POOL = Gauge(
    "automata_database_pool_connections",
    "Connections of this process to the database: idle, busy.",
    ("state",),
    registry=REGISTRY,
)
POOL_MAX = Gauge("automata_database_pool_size", "Connections that this process may open.", registry=REGISTRY)
POOL_WAITING = Gauge(
    "automata_database_pool_waiting", "What waits in this process for a free connection.", registry=REGISTRY
)
DATABASE_UP = Gauge("automata_database_up", "1 while the gauges of the whole system can be read.", registry=SYSTEM)
QUEUE_TASKS = Gauge(
    "automata_queue_tasks",
    "Tasks of all workers' queues, and of the orchestrators (`@advance`): ready, delayed, running. Counted to 100,000.",
    ("queue", "state"),
    registry=SYSTEM,
)
QUEUE_AGE = Gauge(
    "automata_queue_oldest_ready_seconds",
    "How long the task that is ready longest waits to be claimed, by queue.",
    ("queue",),
    registry=SYSTEM,
)
PROCESSES = Gauge(
    "automata_processes_alive", "Processes that were heard of within 30 s, by part.", ("part",), registry=SYSTEM
)
DEAD_LETTERS = Gauge("automata_dead_letters_open", "Dead letters that wait for a person.", registry=SYSTEM)
APPROVALS = Gauge("automata_approvals_waiting", "Steps that wait for a person's decision.", registry=SYSTEM)
NOTIFICATIONS_PENDING = Gauge(
    "automata_notifications_pending", "Notifications that are still to be delivered.", registry=SYSTEM
)
SCHEDULE_OVERDUE = Gauge(
    "automata_schedule_overdue_seconds",
    "How long the fire that is due longest waits to be decided about; also one that waits for the run before it.",
    registry=SYSTEM,
)
SCHEDULE_FIRES = Counter("automata_schedule_fires_total", "Runs that schedules started.", registry=REGISTRY)
SCHEDULE_LATENESS = Histogram(
    "automata_schedule_lateness_seconds",
    "From a fire time to the commit of its run; what was caught up for counts with all its age.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0),
    registry=REGISTRY,
)
SCHEDULE_ERRORS = Counter(
    "automata_schedule_errors_total",
    "Fires that started nothing because the schedule does not fit its flow (its `last_error` says why).",
    registry=REGISTRY,
)
RETENTION_RUNS = Counter("automata_retention_runs_total", "Ended runs deleted for their age.", registry=REGISTRY)
RETENTION_ROWS = Counter(
    "automata_retention_rows_total",
    "Rows of their steps deleted with them: tasks, attempts, approvals, dead letters.",
    registry=REGISTRY,
)
RETENTION_LAST = Gauge(
    "automata_retention_last_walk_timestamp_seconds",
    "When this process last looked at every run that may be old enough; 0 before.",
    registry=REGISTRY,
)
_SYNC = ("source", "environment")
SYNC_ATTEMPTS = Counter(
    "automata_sync_attempts_total",
    "Looks of the controller at its branch: synced, unchanged, failed (waits for a commit), unavailable (tried again),"
    " pinned (looked only), healed (put back what was changed beside Git).",
    (*_SYNC, "result"),
    registry=REGISTRY,
)
SYNC_LAST = Gauge(
    "automata_sync_last_success_timestamp_seconds",
    "When the flows were last seen to be those of their branch.",
    _SYNC,
    registry=REGISTRY,
)
SYNC_PENDING = Gauge(
    "automata_sync_pending_since_timestamp_seconds",
    "Since when the branch is ahead of the flows; 0 while they are those of its newest commit.",
    _SYNC,
    registry=REGISTRY,
)
SYNC_SECONDS = Histogram(
    "automata_sync_duration_seconds", "Attempts that succeeded, from fetch to commit.", registry=REGISTRY
)
SYNC_DRIFTED = Gauge(
    "automata_sync_drifted_flows",
    "Flows that are not as the synced commit says, when last looked.",
    _SYNC,
    registry=REGISTRY,
)
SYNC_PINNED = Gauge(
    "automata_sync_pinned",
    "1 while a rollback keeps the environment from following its branch.",
    _SYNC,
    registry=REGISTRY,
)
SYNC_HINTS = Counter(
    "automata_sync_hints_total",
    "Webhooks of forges: hinted a controller, repeated, ignored (another branch, repository or event), refused (not"
    " signed), invalid (signed, and not readable).",
    ("result",),
    registry=REGISTRY,
)
LEADING = Gauge("automata_leading", "1 while this process leads, by role.", ("role",), registry=REGISTRY)
INTAKE_ROWS = Histogram(
    "automata_intake_batch_rows", "Run requests that shared one transaction.", buckets=_ROWS, registry=REGISTRY
)
BROKER_WAKEUPS_SENT = Counter(
    "automata_broker_rings_total",
    "Wake-ups by topic: messages sent, and ids dropped because the wire was down or full (polls find their work).",
    ("topic", "result"),
    registry=REGISTRY,
)
BROKER_WAKEUPS_HEARD = Counter(
    "automata_broker_heard_total", "Wake-ups heard, by topic.", ("topic",), registry=REGISTRY
)
BROKER_POISON = Counter(
    "automata_broker_poison_total", "Messages that were no wake-ups and were set aside.", ("broker",), registry=REGISTRY
)
BROKER_CONNECTED = Gauge(
    "automata_broker_connected", "1 while the connection stands.", ("broker", "role"), registry=REGISTRY
)
BROKER_REBUILDS = Counter(
    "automata_broker_rebuilds_total",
    "Connections built anew because work was found that no wake-up had announced.",
    ("broker", "role"),
    registry=REGISTRY,
)
BROKER_DEAD_LETTERS = Gauge("automata_broker_dead_letters", "Messages in dlq.tasks when last asked.", registry=REGISTRY)
_BUILD = Gauge("automata_build_info", "1; the version is the label.", ("version",), registry=REGISTRY)
_BUILD.labels(__version__).set(1)


# Number of a helper (services/supervisor.py) -> what asks it for its metrics.
CHILD_METRICS: dict[str, Callable[[], Awaitable[str]]] = {}


def metrics_text(*, system: bool = False, others: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """All metrics of this process, and those of the system, in Prometheus' text format (METRICS_CONTENT_TYPE).

    `others` are such texts of its helpers: their samples stand beside its own with the label `process`.
    """
    own = generate_latest(_MergedCollector(others)) if others else generate_latest(REGISTRY)
    return own + (generate_latest(SYSTEM) if system else b"")


class _MergedCollector(Collector):
    """A collector of what several processes count: a metric is described once, however many have it."""

    def __init__(self, others: Mapping[str, str]) -> None:
        self._others = others

    def collect(self) -> Iterator[Metric]:
        metrics = {metric.name: metric for metric in REGISTRY.collect()}
        for number, text in self._others.items():
            for metric in text_string_to_metric_families(text):
                if metric.type == "gauge" and metric.name.endswith("_created"):
                    continue  # when a counter began: the text format makes a metric of that
                merged = metrics.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    merged.samples.append(sample._replace(labels={**sample.labels, "process": number}))
        return iter(metrics.values())


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What would let a logged value start a new line or drive a terminal: C0, DEL, C1 and the Unicode line ends.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and whatever `extra` carried."""

    def format(self, record: logging.LogRecord) -> str:
        line = _extra(record) | {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`time level logger message key=value …`; control characters are written out, so a value stays on its line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        head = f"{_timestamp(record.created)} {record.levelname.lower():7} {record.name} "
        line = head + (record.getMessage() + fields).translate(_CONTROL)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Masked(logging.Formatter):
    """What another formatter wrote, without secrets: also in messages and stack traces of libraries."""

    mask: Callable[[str], str] | None = None

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        return line if _Masked.mask is None else _Masked.mask(line)


def mask_logs(mask: Callable[[str], str] | None) -> None:
    """Have every line that this process logs from now on pass `mask`."""
    _Masked.mask = staticmethod(mask) if mask else None


def configure_logs(level: str = "info", format: str = "text", stream: TextIO | None = None) -> None:
    """Send every logger of the process to `stream` (stderr). Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Masked(JsonFormatter() if format == "json" else TextFormatter()))
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.handlers[:] = [handler]


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _timestamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
