"""The flow as values: frozen, complete, and built either from a checked file or from a stored spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from automata.flow.key_order import key_orders
from automata.flow.secret_outputs import output_values, secret_names

Backoff = Literal["fixed", "linear", "exponential"]
Jitter = Literal["full", "none"]
InputType = Literal["string", "integer", "number", "boolean", "object", "array"]
Catchup = Literal["none", "latest", "all"]
Overlap = Literal["allow", "skip", "queue"]

RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
DEFAULT_TIMEOUT_SEC = 300.0
GROUP = "parallel"
DEFAULT_QUEUE = "default"
MAX_ITEMS = 10_000  # of a `foreach`
# What a version is made of. A change of it has every sync read its files again, also where none of them moved.
CONTENT_FORMAT = 2  # 2: the order of keys where they are sent on


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` counts the first one; delays are milliseconds."""

    max_attempts: int = 1
    backoff: Backoff = "exponential"
    initial_delay_ms: int = 1000
    max_delay_ms: int = 60_000
    jitter: Jitter = "full"
    on_status: tuple[int, ...] = RETRIED_STATUS

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], base: RetryPolicy | None = None) -> RetryPolicy:
        """Lay a `retry` mapping over `base` (the flow's defaults), key by key."""
        base = base or cls()
        values = {name: spec.get(name, getattr(base, name)) for name in cls.__slots__}
        values["on_status"] = tuple(values["on_status"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input. `has_default` tells a default of null from none."""

    name: str
    type: InputType = "string"
    required: bool = False
    has_default: bool = False
    default: Any = None
    description: str = ""
    enum: tuple[Any, ...] | None = None
    pattern: str | None = None
    schema: Mapping[str, Any] | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Exactly one of `cron` (five fields) and `interval_sec` is set."""

    name: str
    cron: str | None = None
    interval_sec: float | None = None
    timezone: str = "UTC"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    catchup: Catchup = "none"
    overlap: Overlap = "allow"
    jitter_sec: float = 0
    starting_deadline_sec: float | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """`secret` is the name of a secret, never its value; `inputs` None: the body is the inputs."""

    name: str
    secret: str
    inputs: Mapping[str, Any] | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a `parallel`; its steps run one after another."""

    id: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step as written; `config` and `outputs` still hold template text.

    `secret_outputs` are the names of outputs that nobody is shown.
    """

    id: str
    type: str
    name: str = ""
    depends_on: tuple[str, ...] = ()
    condition: str | bool | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] | None = None
    secret_outputs: frozenset[str] = frozenset()
    retry: RetryPolicy = RetryPolicy()
    timeout_sec: float = DEFAULT_TIMEOUT_SEC
    continue_on_error: bool = False
    queue: str = DEFAULT_QUEUE
    branches: tuple[Branch, ...] = ()
    foreach: str | list[Any] | None = None
    max_parallel: int | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` runs at a time, of the flow or of each `key` (a template over inputs and vars)."""

    limit: int
    key: str | None = None
    policy: Literal["queue", "skip", "cancel_running"] = "queue"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a run is to keep of its requests. `fields`: names whose values are masked, beside those that always are."""

    fields: tuple[str, ...] = ()

    @classmethod
    def from_spec(cls, spec: Any) -> Recording | None:
        """From a version's spec, where a sync wrote the project's names into it; None when nothing is kept."""
        if isinstance(spec, Mapping):
            return cls(tuple(spec.get("fields", ())))
        return cls() if spec == "on" else None


@dataclass(frozen=True, slots=True)
class Egress:
    """The lists of the environment that a version was made for; a sync writes them into its spec."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @classmethod
    def from_spec(cls, spec: Any) -> Egress | None:
        """None for a version without lists of its own."""
        return cls(tuple(spec.get("allow", ())), tuple(spec.get("deny", ()))) if isinstance(spec, Mapping) else None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as declared. `spec` is what it was built from."""

    name: str
    steps: tuple[Step, ...]
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: Mapping[str, Any] | None = None
    secret_outputs: frozenset[str] = frozenset()
    on_failure: Step | None = None
    schedules: tuple[Schedule, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    renamed_from: str | None = None
    concurrency: Concurrency | None = None
    recording: Recording | None = None
    egress: Egress | None = None
    spec: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Flow:
        """Build a flow from a spec that was checked before it was stored; it is trusted, not checked again."""
        defaults = spec.get("defaults", {})
        retry = RetryPolicy.from_spec(defaults.get("retry", {}))
        timeout = float(defaults.get("timeout_sec", DEFAULT_TIMEOUT_SEC))
        failure = spec.get("on_failure")
        return cls(
            name=spec["name"],
            description=spec.get("description", ""),
            labels=spec.get("labels", {}),
            inputs=tuple(_input(name, value) for name, value in spec.get("inputs", {}).items()),
            steps=tuple(_step(step, retry, timeout) for step in spec["steps"]),
            outputs=output_values(spec.get("outputs")),
            secret_outputs=secret_names(spec.get("outputs")),
            on_failure=_step(failure, retry, timeout) if failure else None,
            schedules=tuple(_schedule(item) for item in spec.get("schedules", ())),
            webhooks=webhooks_of(spec.get("webhooks")),
            renamed_from=spec.get("renamed_from"),
            concurrency=Concurrency(**spec["concurrency"]) if "concurrency" in spec else None,
            recording=Recording.from_spec(spec.get("recording")),
            egress=Egress.from_spec(spec.get("egress")),
            spec=spec,
        )

    def walk(self) -> Iterator[tuple[str, Step]]:
        """Every step with its full id (`parallel.branch.step`), parents first, `on_failure` last."""
        yield from _walk(self.steps, "")
        if self.on_failure:
            yield from _walk((self.on_failure,), "")


class FlowContent(NamedTuple):
    """What a version keeps of a flow: its spec, and the values of the variables that it reads."""

    spec: Mapping[str, Any]
    variables: Mapping[str, Any]


def canonical_json(value: Any) -> str:
    """The one text of a value: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def webhooks_of(listed: Any) -> tuple[Webhook, ...]:
    """The `webhooks` of a stored spec; None when it has none."""
    return tuple(
        Webhook(**{name: webhook[name] for name in Webhook.__slots__ if name in webhook}) for webhook in listed or ()
    )


def content_hash(spec: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> str:
    """SHA-256 (64 hex digits) over the canonical spec and the resolved variables that are not secret.

    Comments make no version, nor does the order of keys but where it is sent on (key_order.py).
    """
    orders = key_orders(spec, variables)
    content = [spec, variables or {}, *([orders] if orders else [])]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _walk(steps: tuple[Step, ...], prefix: str) -> Iterator[tuple[str, Step]]:
    for step in steps:
        full = prefix + step.id
        yield full, step
        for branch in step.branches:
            yield from _walk(branch.steps, f"{full}.{branch.id}.")


def _step(spec: Mapping[str, Any], retry: RetryPolicy, timeout: float) -> Step:
    return Step(
        id=spec["id"],
        type=spec["type"],
        name=spec.get("name", ""),
        depends_on=tuple(spec.get("depends_on", ())),
        condition=spec.get("condition"),
        config=spec.get("config", {}),
        outputs=output_values(spec.get("outputs")),
        secret_outputs=secret_names(spec.get("outputs")),
        retry=RetryPolicy.from_spec(spec.get("retry", {}), retry),
        timeout_sec=float(spec.get("timeout_sec", timeout)),
        continue_on_error=spec.get("continue_on_error", False),
        queue=spec.get("queue", DEFAULT_QUEUE),
        branches=tuple(
            Branch(branch["id"], tuple(_step(step, retry, timeout) for step in branch["steps"]))
            for branch in spec.get("branches", ())
        ),
        foreach=spec.get("foreach"),
        max_parallel=spec.get("max_parallel"),
    )


def _input(name: str, spec: Mapping[str, Any]) -> Input:
    return Input(
        name=name,
        type=spec.get("type", "string"),
        required=spec.get("required", False),
        has_default="default" in spec,
        default=spec.get("default"),
        description=spec.get("description", ""),
        enum=tuple(spec["enum"]) if "enum" in spec else None,
        pattern=spec.get("pattern"),
        schema=spec.get("schema"),
        secret=spec.get("secret", False),
    )


def _schedule(spec: Mapping[str, Any]) -> Schedule:
    return Schedule(**{name: spec[name] for name in Schedule.__slots__ if name in spec})
