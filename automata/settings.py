"""Frozen settings: defaults < file (AUTOMATA_CONFIG, YAML) < environment (AUTOMATA_*) < flags.

Every limit of the product that an operator may turn is a field here, with its unit in its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from automata.errors import Usage

_QUEUE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # as in flow files
MAX_RETENTION_DAYS = 3650
MAX_PROCESSES = 64  # of one command; ten connections each
MIN_SYNC_SEC, MAX_SYNC_SEC = 1, 86_400
MAX_TOLERANCE_SEC = 3600  # far below a day: a delivery must be too old before its run may be deleted
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """`load()` is how the CLI makes one; tests may build it directly."""

    # where things are
    database_url: str = ""  # empty: the embedded PostgreSQL
    amqp_url: str = ""  # RabbitMQ; empty: processes ring through PostgreSQL
    data_dir: str = ""  # empty: /var/lib/automata for root, else the user's data folder
    api_url: str = "http://127.0.0.1:8080"
    repo: str = ""
    branch: str = "main"
    environment: str = "prod"
    repo_path: str = ""
    sources: tuple[str, ...] = ()  # more than one: `repo=URL,env=NAME,branch=NAME,path=FOLDER` each
    # what listens
    host: str = "127.0.0.1"
    port: int = 8080
    # who may come in
    auth: str = ""  # on or off; empty: on unless `host` is loopback
    metrics: str = ""  # who may read /metrics: everybody or viewers; empty: everybody on loopback
    public_url: str = ""  # how browsers reach this server, like https://automata.example.com
    session_secret: str = field(default="", repr=False)  # signs cookies; empty: one that is kept in the database
    rate_per_sec: float = 1000.0  # requests of one token or session; twice as many at once; 0: no limit
    anonymous_rate_per_sec: float = 100.0  # requests of one address that need no token; likewise
    failed_auth_per_min: float = 30.0  # tokens that are not good, from one address; likewise
    # people that an OpenID Connect provider knows; nothing of it: only tokens let in
    oidc_issuer: str = ""  # its address exactly as it says it itself, like https://login.example.com/realms/work
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_roles: tuple[str, ...] = ()  # `VALUE=role` each: what a value of the claim lets do; no value: not let in
    oidc_claim: str = "groups"  # of the ID token: a text or a list of texts
    oidc_name: str = "your organisation"  # what the button says after "Sign in with"
    oidc_session_min: int = 480  # a session's life, 5 to 720 minutes: so long does a role last that was taken away
    # how the command line comes in
    token: str = field(default="", repr=False)
    # how much at once
    processes: int = 1  # of one command: worker, orchestrator or up
    concurrency: int = 500  # steps that one worker runs side by side
    batch: int = 500  # rows that one statement takes
    queues: tuple[str, ...] = ("default",)  # what a worker takes from: a step's `queue:`
    pool_size: int = 8  # connections of one process
    # time
    lease_sec: float = 30.0
    heartbeat_sec: float = 10.0
    poll_sec: float = 2.0  # what a bell that was never rung costs, at most
    drain_sec: float = 25.0
    sync_interval_sec: float = 60.0  # between two looks of the controller at its branch
    sync_hinted_interval_sec: float = 600.0  # the same while webhooks announce what is pushed
    sync_drift_interval_sec: float = 300.0  # between two comparisons of the database with what was synced
    # egress
    allow_loopback: bool = False
    egress_allow: tuple[str, ...] = ()
    egress_deny: tuple[str, ...] = ()
    # what is kept
    retention_days: int = 0  # ended runs that are older are deleted; 0: none
    # intake
    max_body_bytes: int = 2 * 1024 * 1024
    hook_body_bytes: int = 1024 * 1024  # of a webhook's delivery; max_body_bytes bounds it too
    hook_tolerance_sec: float = 300.0  # between a delivery's timestamp and our clock
    sync_webhook_secret: str = field(default="", repr=False)  # of the forge's webhook; a second line is the old one
    github_repo: str = ""  # OWNER/NAME of `repo` on GitHub, whose pull requests are the authority then
    github_api: str = "https://api.github.com"  # or https://HOST/api/v3
    github_token: str = field(default="", repr=False)
    # logs
    log_level: str = "info"
    log_format: str = "text"  # or json
    # traces
    otlp_url: str = ""  # a collector's OTLP/HTTP address; empty: no traces
    trace_ratio: float = 1.0  # of the runs that no traced request started


def load(env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Settings from all sources; a flag that is None counts as not given. Raises Usage for a bad value."""
    env = os.environ if env is None else env
    values: dict[str, Any] = {}
    if path := env.get("AUTOMATA_CONFIG"):
        values |= _from_file(Path(path))
    names = {item.name for item in fields(Settings)}
    values |= {name: env[key] for name in names if (key := f"AUTOMATA_{name.upper()}") in env}
    values |= {name: value for name, value in flags.items() if value is not None}
    defaults = Settings()
    made = replace(defaults, **{name: _cast(name, raw, getattr(defaults, name)) for name, raw in values.items()})
    for name in made.queues:
        if not _QUEUE.fullmatch(name):
            raise Usage(f"AUTOMATA_QUEUES: {name!r} is no queue: lower-case letters, digits, `.`, `_` and `-`")
    _check_processes(made)
    if made.retention_days > MAX_RETENTION_DAYS:
        raise Usage(
            f"AUTOMATA_RETENTION_DAYS: {made.retention_days} is above {MAX_RETENTION_DAYS}; 0 keeps runs for ever"
        )
    for name in ("sync_interval_sec", "sync_hinted_interval_sec", "sync_drift_interval_sec"):
        if not MIN_SYNC_SEC <= (value := getattr(made, name)) <= MAX_SYNC_SEC:
            raise Usage(f"AUTOMATA_{name.upper()}: {value:g} is not {MIN_SYNC_SEC} to {MAX_SYNC_SEC}")
    if made.hook_tolerance_sec > MAX_TOLERANCE_SEC:
        raise Usage(f"AUTOMATA_HOOK_TOLERANCE_SEC: {made.hook_tolerance_sec:g} is above {MAX_TOLERANCE_SEC}")
    if made.trace_ratio > 1:
        raise Usage(f"AUTOMATA_TRACE_RATIO: {made.trace_ratio:g} is not 0 to 1")
    if made.otlp_url and not made.otlp_url.startswith(("http://", "https://")):
        raise Usage("AUTOMATA_OTLP_URL is the address of a collector that takes OTLP over HTTP, as http://host:4318")
    return made if made.queues else replace(made, queues=defaults.queues)


def _check_processes(made: Settings) -> None:
    if not 1 <= made.processes <= MAX_PROCESSES:
        raise Usage(f"AUTOMATA_PROCESSES: {made.processes} is not 1 to {MAX_PROCESSES}")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Usage(f"AUTOMATA_CONFIG: {path} cannot be read: {error}") from error
    names = {item.name for item in fields(Settings)}
    if not isinstance(content, dict) or (unknown := set(content) - names):
        raise Usage(f"AUTOMATA_CONFIG: {path} must map settings to values; unknown: {sorted(map(str, unknown or []))}")
    return content


def _cast(name: str, raw: Any, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return _boolean(raw)
        if isinstance(default, tuple):
            # A source has commas of its own, and neither its address nor its names have spaces.
            apart = None if name == "sources" else ","
            if isinstance(raw, Mapping):
                return tuple(f"{key}={value}" for key, value in raw.items())
            return (
                tuple(part.strip() for part in raw.split(apart) if part.strip()) if isinstance(raw, str) else tuple(raw)
            )
        value = type(default)(raw)
    except (TypeError, ValueError) as error:
        raise Usage(f"AUTOMATA_{name.upper()}: {raw!r} is not a {type(default).__name__}") from error
    if isinstance(default, (int, float)) and value < 0:
        raise Usage(f"AUTOMATA_{name.upper()}: {raw!r} is below zero")
    return value


def _boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if str(raw).lower() in _TRUE:
        return True
    if str(raw).lower() in _FALSE:
        return False
    raise ValueError(raw)
