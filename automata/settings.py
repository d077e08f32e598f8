"""Frozen settings: defaults < file (AUTOMATA_CONFIG, YAML) < environment (AUTOMATA_*) < flags.

`Settings` is the one table of them: a field is all that a new setting needs. What a field says of itself gives its
bounds, its row in docs/cli.md, and the names that `unknown_variables` knows.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from typing import Any

from automata.errors import Usage
from automata.settings_fields import CONFIG, PREFIX, Rules, setting, variable

MAX_RETENTION_DAYS = 3650
MAX_PROCESSES = 64  # of one command; ten connections each
MIN_SYNC_SEC, MAX_SYNC_SEC = 1, 86_400
MAX_TOLERANCE_SEC = 3600  # far below a day: a delivery must be too old before its run may be deleted
_LEVELS = ("debug", "info", "warning", "error", "critical")
_FORMATS = ("text", "json")
_QUEUE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # as in flow files

log = logging.getLogger(__name__)


def _bad_queue(names: tuple[str, ...]) -> str | None:
    for name in names:
        if not _QUEUE.fullmatch(name):
            return f"{name!r} is no queue: lower-case letters, digits, `.`, `_` and `-`"
    return None


def _bad_network(networks: tuple[str, ...]) -> str | None:
    for text in networks:
        try:
            ip_network(text, strict=False)
        except ValueError:
            return f"{text[:60]!r} is neither an address nor a network, as 10.0.0.5 or 10.0.0.0/24"
    return None


def _short_token(token: str) -> str | None:
    return "it is shorter than 32 characters, which can be guessed" if token and len(token) < 32 else None


def _empty_list(rules: tuple[str, ...]) -> str | None:
    return None if rules else "it is empty, and an empty list keeps no flow from any address; leave it out for that"


def _bad_collector(url: str) -> str | None:
    if url and not url.startswith(("http://", "https://")):
        return f"{url[:100]!r} is no address of a collector that takes OTLP over HTTP, as http://host:4318"
    return None


def _bad_level(level: str) -> str | None:
    return None if level.lower() in _LEVELS else f"{level[:40]!r} is none of {', '.join(_LEVELS)}"


def _bad_format(name: str) -> str | None:
    return None if name in _FORMATS else f"{name[:40]!r} is none of {', '.join(_FORMATS)}"


@dataclass(frozen=True, slots=True)
class Settings:
    """`load()` is how the CLI makes one; tests may build it directly, which checks nothing."""

    # where things are
    api_url: str = setting("http://127.0.0.1:8080", "where `flow`, `run` and `schedule` find the API")
    database_url: str = setting(
        "", "`postgresql://user:password@host/database`, 15 or later", shown="the embedded PostgreSQL"
    )
    database_direct_url: str = setting(
        "",
        "the same database past the pooler that `AUTOMATA_DATABASE_URL` leads through; see"
        " [operations.md](operations.md#pgbouncer)",
        shown="none: there is no pooler",
    )
    amqp_url: str = setting(
        "",
        "`amqp://user:password@host:5672/vhost`, or `amqps://`; see [operations.md](operations.md#rabbitmq)",
        shown="none: PostgreSQL carries the wake-ups",
    )
    data_dir: str = setting(
        "",
        "the embedded database and mirrors of repositories",
        shown="`~/.local/share/automata`; root: `/var/lib/automata`",
    )
    repo: str = setting("", "the flows repository")
    repo_path: str = setting("", "its folder")
    branch: str = setting("", "its branch", shown="the environment's, else the repository's default branch")
    environment: str = setting("prod", "its environment")
    sources: tuple[str, ...] = setting(
        (),
        "several sources for the controller, parted by spaces, each `repo=URL,env=NAME,branch=NAME,path=FOLDER`; see"
        " [sync.md](sync.md#the-controller)",
        separator=None,  # a source has commas of its own, and neither its address nor its names have spaces
    )
    github_repo: str = setting(
        "",
        "`OWNER/NAME` of that repository on GitHub: pull requests are the authority then ([github.md](github.md))",
    )
    github_token: str = setting(
        "",
        "a token of GitHub for it that may read and write contents, pull requests and commit statuses",
        secret=True,
    )
    github_api: str = setting("https://api.github.com", "or `https://HOST/api/v3`")
    # what listens
    host: str = setting("127.0.0.1", "where `up` and the API listen")
    port: int = setting(8080, "the port there; `0` takes a free one", most=65_535)
    # who may come in
    auth: str = setting(
        "",
        "`on` or `off`; unset: on unless `AUTOMATA_HOST` is loopback and neither a public URL nor a proxy is named"
        " ([security.md](security.md))",
        shown="unset",
    )
    token: str = setting(
        "", "how the command line comes in where the server asks for a token", shown="unset", secret=True
    )
    public_url: str = setting(
        "",
        "how browsers reach the server, like `https://automata.example.com`; with https, cookies are `Secure`",
        shown="unset",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "addresses or networks of the proxies in front, by commas: who they say that a request is from is believed"
        " ([security.md](security.md#behind-a-proxy))",
        check=_bad_network,
    )
    session_secret: str = setting(
        "", "signs the console's cookies; at least 32 characters", shown="in the database", secret=True
    )
    # people that an OpenID Connect provider knows
    oidc_issuer: str = setting(
        "",
        "the OpenID Connect provider that people sign in with, exactly as it names itself"
        " ([security.md](security.md#people-of-an-openid-connect-provider))",
        shown="none: tokens alone let in",
    )
    oidc_client_id: str = setting("", "what the provider knows Automata as")
    oidc_client_secret: str = setting("", "and what proves it", secret=True)
    oidc_roles: tuple[str, ...] = setting(
        (), "`VALUE=role` by commas: what a value of the claim lets do; none of them: not let in"
    )
    oidc_claim: str = setting("groups", "the claim of the ID token: a text or a list of texts")
    oidc_name: str = setting("your organisation", 'what the button says after "Sign in with"')
    oidc_session_min: int = setting(
        480, "a session's life in minutes, 5 to 720: so long does a role last that was taken away"
    )
    metrics: str = setting(
        "",
        "who may read `/metrics`: `everybody` or `viewers`; unset: everybody where the server lets everybody in",
        shown="unset",
    )
    metrics_token: str = setting(
        "",
        "what Prometheus sends as `Authorization: Bearer ...`, good for `/metrics` alone; at least 32 characters",
        secret=True,
        check=_short_token,
    )
    rate_per_sec: float = setting(1000.0, "requests of one token or session; twice as many at once; `0`: no limit")
    anonymous_rate_per_sec: float = setting(100.0, "requests of one address that need no token; likewise")
    failed_auth_per_min: float = setting(30.0, "tokens that are not good, from one address; likewise")
    # what flows may call
    allow_loopback: bool = setting(False, "flows may call this machine")
    egress_allow: tuple[str, ...] = setting(
        (),
        "addresses that flows may call, by commas; unset: all that are not denied; see [egress.md](egress.md)",
        check=_empty_list,
    )
    egress_deny: tuple[str, ...] = setting((), "addresses that flows may not call, by commas", check=_empty_list)
    # how much at once
    concurrency: int = setting(500, "steps that one worker runs side by side", least=1)
    processes: int = setting(
        1,
        "processes of one `worker`, `orchestrator` or `up`, to 64"
        " ([operations.md](operations.md#several-processes-on-one-machine))",
        least=1,
        most=MAX_PROCESSES,
    )
    batch: int = setting(
        500,
        "rows that one statement takes; fewer: shorter turns and less throughput"
        " ([performance.md](performance.md#the-next-limits-and-what-was-tried))",
        least=1,
    )
    queues: tuple[str, ...] = setting(
        ("default",), "queues that a worker takes steps from, by commas", check=_bad_queue
    )
    pool_size: int = setting(8, "connections of one process to the database", least=1)
    # time
    lease_sec: float = setting(30.0, "how long a claim lasts")
    heartbeat_sec: float = setting(10.0, "how often it is renewed")
    drain_sec: float = setting(25.0, "how long an end waits for calls")
    poll_sec: float = setting(2.0, "what a wake-up that was never heard costs, at most")
    sync_interval_sec: float = setting(
        60.0, "between two looks of the controller at its branch, 1 to 86,400", least=MIN_SYNC_SEC, most=MAX_SYNC_SEC
    )
    sync_hinted_interval_sec: float = setting(
        600.0, "the same while webhooks announce what comes", least=MIN_SYNC_SEC, most=MAX_SYNC_SEC
    )
    sync_drift_interval_sec: float = setting(
        300.0,
        "between two comparisons of the database with what was synced, 1 to 86,400",
        least=MIN_SYNC_SEC,
        most=MAX_SYNC_SEC,
    )
    sync_webhook_secret: str = setting(
        "",
        "what the forge's webhook is signed with, a second line is the old one; see"
        " [sync.md](sync.md#webhooks-within-seconds)",
        shown="none: no webhook is taken",
        secret=True,
    )
    # what is kept
    retention_days: int = setting(
        0,
        "ended runs that are older are deleted, 1 to 3650 days; see [operations.md](operations.md#retention)",
        shown="`0`: for ever",
        most=MAX_RETENTION_DAYS,
        hint="0 keeps runs for ever",
    )
    # intake
    max_body_bytes: int = setting(2 * 1024 * 1024, "the largest body of a request", shown="2 MiB")
    hook_body_bytes: int = setting(
        1024 * 1024,
        "the largest body of a webhook's delivery; `AUTOMATA_MAX_BODY_BYTES` bounds it too; see"
        " [webhooks.md](webhooks.md)",
        shown="1 MiB",
    )
    hook_tolerance_sec: float = setting(
        300.0, "how far the timestamp of a delivery may be from now, 3600 at most", most=MAX_TOLERANCE_SEC
    )
    # logs and traces
    log_level: str = setting("info", "`debug`, `info`, `warning` or `error`", check=_bad_level)
    log_format: str = setting("text", "or `json`", check=_bad_format)
    otlp_url: str = setting(
        "",
        "a collector's OTLP/HTTP address: where traces are sent ([observability.md](observability.md#traces))",
        shown="none: no traces",
        check=_bad_collector,
    )
    trace_ratio: float = setting(1.0, "of which part of the runs that no traced request started, 0 to 1", most=1)


# Variables that are no settings, because one place alone reads each: of what they are, for docs/cli.md.
OTHER_VARIABLES: Mapping[str, str] = {
    CONFIG: "a YAML file that maps settings to values",
    "AUTOMATA_ACTOR": "who proposes at this machine, as `NAME <MAIL>` ([proposals.md](proposals.md))",
    "AUTOMATA_GIT_TOKEN": "what fetches and pushes over https ([sync.md](sync.md))",
    "AUTOMATA_GIT_USERNAME": "the name that goes with it, or with a key",
    "AUTOMATA_GIT_SSH_KEY": "a private key for ssh",
    "AUTOMATA_GIT_SSH_PASSPHRASE": "its passphrase",
    "AUTOMATA_SECRET_NAME": "the secret `NAME`; for workers, and for the API's webhooks ([secrets.md](secrets.md))",
    "AUTOMATA_SECRETS_DIR": "a folder with one file a secret",
    "AUTOMATA_VAULT_ADDR": "secrets from Vault, with more `AUTOMATA_VAULT_…`; see [secrets.md](secrets.md#vault)",
}
# Those of compose files, of CI and of the tests: an environment that is shared with them is no mistake.
_FOREIGN = frozenset(
    f"AUTOMATA_{name}"
    for name in (
        *("IMAGE_TAG", "PACKAGE", "POSTGRES_IMAGE", "POSTGRES_PASSWORD", "POSTGRES_PORT", "PYTHON_IMAGE"),
        *("RABBITMQ_IMAGE", "RABBITMQ_PASSWORD", "RABBITMQ_PORT"),
        *("CHROMIUM", "FUZZ_SEC", "RECORD_PLANS", "REPO_FOLDER", "SEED"),
    )
)
# Families of which no list is complete: names of secrets are chosen, and Vault's are checked where they are read.
_FAMILIES = ("AUTOMATA_SECRET_", "AUTOMATA_VAULT_", "AUTOMATA_TEST_")


def rules_of(name: str) -> Rules:
    """What a setting says of itself. Raises KeyError."""
    return _RULES[name]


def load(env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Settings from all sources; a flag that is None counts as not given. Raises Usage for a bad value.

    An empty text is a bad value where the default is not empty: `AUTOMATA_HOST=` would listen on every interface.
    """
    env = os.environ if env is None else env
    texts = {name: env[key] for name in _RULES if (key := variable(name)) in env}
    flags = {name: value for name, value in flags.items() if value is not None}
    # pydantic-settings and its model take 0.06 s beyond what Typer loads, for each command that asks the API.
    # Where nothing but plain texts is set, there is nothing to parse or to check.
    values = texts | flags
    if not env.get(CONFIG) and values.keys() <= _PLAIN and all(_is_plain(*item) for item in values.items()):
        return _checked_together(replace(Settings(), **values))
    from automata.settings_sources import parse

    parsed = parse(Settings, env.get(CONFIG), texts, flags)
    return _checked_together(Settings(**parsed | ({} if parsed["queues"] else {"queues": Settings().queues})))


def _checked_together(settings: Settings) -> Settings:
    """The same, if its parts go together, which none of them can know. Raises Usage."""
    if settings.heartbeat_sec >= settings.lease_sec:
        raise Usage(
            f"AUTOMATA_HEARTBEAT_SEC ({settings.heartbeat_sec:g}) is not less than AUTOMATA_LEASE_SEC"
            f" ({settings.lease_sec:g}): every claim would run out before it is renewed.",
            hint="A third of the lease is usual.",
        )
    if settings.database_direct_url and not settings.database_url:
        raise Usage("AUTOMATA_DATABASE_DIRECT_URL is set without AUTOMATA_DATABASE_URL.", hint="Set both, or neither.")
    return settings


def unknown_variables(env: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """AUTOMATA_* of the environment that nothing reads, each with the nearest name that something does."""
    env = os.environ if env is None else env
    known = {*map(variable, _RULES), *OTHER_VARIABLES, *_FOREIGN}
    families = (*_FAMILIES, *_linked_services(env))
    unknown = sorted(
        name for name in env if name.startswith(PREFIX) and name not in known and not name.startswith(families)
    )
    if not unknown:
        return {}
    from difflib import get_close_matches

    names = [name.removeprefix(PREFIX) for name in sorted(known - _FOREIGN)]
    nearest = {name: get_close_matches(name.removeprefix(PREFIX), names, 1, 0.75) for name in unknown}
    return {name: PREFIX + close[0] if close else None for name, close in nearest.items()}


def _linked_services(env: Mapping[str, str]) -> list[str]:
    """What the variables begin with that Kubernetes makes of a Service, as `SHOP_API_` of `shop-api`."""
    return [name.removesuffix("SERVICE_HOST") for name in env if name.endswith("_SERVICE_HOST")]


def warn_of_unknown_variables(env: Mapping[str, str] | None = None) -> None:
    """Log each variable that looks like a setting and is none: a misspelt one would be off without a word."""
    for name, nearest in unknown_variables(env).items():
        log.warning("%s is no setting%s", name, f"; did you mean {nearest}?" if nearest else "")


def _is_plain(name: str, value: Any) -> bool:
    return isinstance(value, str) and bool(value or not _DEFAULTS[name])


_RULES: Mapping[str, Rules] = {item.name: item.metadata["rules"] for item in fields(Settings)}
_DEFAULTS: Mapping[str, Any] = {item.name: item.default for item in fields(Settings)}
_PLAIN = {item.name for item in fields(Settings) if item.type == "str" and _RULES[item.name].check is None}
