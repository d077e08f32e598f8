"""Settings: defaults < file < environment < flags, and names that nothing reads."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from automata.errors import Usage
from automata.settings import MAX_PROCESSES, Settings, load, unknown_variables, warn_of_unknown_variables
from automata.settings_fields import variable

ROOT = Path(__file__).parent.parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "automata.yaml"


def from_file(file: Path, text: str, **env: str) -> Settings:
    file.write_text(text)
    return load({"AUTOMATA_CONFIG": str(file), **env})


def test_a_flag_wins_over_the_environment_that_wins_over_the_file_that_wins_over_the_default(file: Path) -> None:
    file.write_text("port: 1\nbatch: 1\nconcurrency: 1\n")
    env = {"AUTOMATA_CONFIG": str(file), "AUTOMATA_PORT": "2", "AUTOMATA_BATCH": "2"}
    settings = load(env, port=3, batch=None)
    assert (settings.port, settings.batch, settings.concurrency, settings.pool_size) == (3, 2, 1, 8)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        load({}).port = 1  # type: ignore[misc]


def test_a_name_in_lower_case_is_no_setting() -> None:
    assert load({"automata_port": "81", "AUTOMATA_BATCH": "7"}).port == 8080


@pytest.mark.parametrize("name", ["host", "environment", "api_url", "port", "github_api", "log_level"])
@pytest.mark.parametrize("beside", [{}, {"AUTOMATA_PORT": "1"}])
def test_an_empty_variable_takes_no_default_away(name: str, beside: dict[str, str]) -> None:
    with pytest.raises(Usage, match=f"AUTOMATA_{name.upper()}: "):
        load({**beside, f"AUTOMATA_{name.upper()}": ""})


@pytest.mark.parametrize("name", ["EGRESS_ALLOW", "EGRESS_DENY"])
@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_an_empty_list_of_addresses_is_not_taken_for_one(name: str, text: str) -> None:
    with pytest.raises(Usage, match=f"AUTOMATA_{name}: it is empty"):
        load({f"AUTOMATA_{name}": text})


@pytest.mark.parametrize("name", ["repo", "branch", "auth", "token", "public_url", "queues", "sources"])
def test_an_empty_variable_without_a_default_says_nothing(name: str) -> None:
    assert load({f"AUTOMATA_{name.upper()}": ""}) == Settings()


@pytest.mark.parametrize("name", ["host", "environment", "api_url", "log_level"])
def test_an_empty_text_of_a_file_takes_no_default_away(file: Path, name: str) -> None:
    file.write_text(f"{name}: ''")
    with pytest.raises(Usage, match="empty"):
        load({"AUTOMATA_CONFIG": str(file)})


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("PORT", "81", 81),
        ("POLL_SEC", "0.5", 0.5),
        ("ALLOW_LOOPBACK", "yes", True),
        ("ALLOW_LOOPBACK", "Off", False),
        ("QUEUES", " slow, default,", ("slow", "default")),
        ("QUEUES", "", ("default",)),
        ("EGRESS_ALLOW", "a.example.com,*.b.example.com", ("a.example.com", "*.b.example.com")),
        ("SOURCES", "repo=a,env=b  repo=c", ("repo=a,env=b", "repo=c")),
        ("TOKEN", "[1]", "[1]"),
        ("REPO", "", ""),
    ],
)
def test_a_variable_is_a_text_and_its_setting_has_a_type(name: str, raw: str, expected: object) -> None:
    assert getattr(load({f"AUTOMATA_{name}": raw}), name.lower()) == expected


def test_a_file_has_the_types_of_yaml(file: Path) -> None:
    settings = from_file(
        file, "auth: on\ntoken: 123\nport: 81\nqueues: [a, b]\negress_deny: c, d\nbranch: 2026-01-01\n"
    )
    assert settings.branch == "2026-01-01"
    assert (settings.auth.lower(), settings.token, settings.port) == ("true", "123", 81)
    assert (settings.queues, settings.egress_deny) == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("name", "raw", "wrong"),
    [
        ("PORT", "x", "'x' is no whole number"),
        ("PORT", "", "'' is no whole number"),
        ("PORT", "-1", "'-1' is not 0 to 65535"),
        ("POLL_SEC", "soon", "'soon' is no number"),
        ("POLL_SEC", "nan", "'nan' is not 0 or more"),
        ("ALLOW_LOOPBACK", "maybe", "'maybe' is neither true nor false"),
        ("PROCESSES", "0", f"'0' is not 1 to {MAX_PROCESSES}"),
        ("PROCESSES", "65", f"'65' is not 1 to {MAX_PROCESSES}"),
        ("RETENTION_DAYS", "3651", "'3651' is not 0 to 3650; 0 keeps runs for ever"),
        ("TRACE_RATIO", "3\n", "'3\\n' is not 0 to 1"),
        ("QUEUES", "default,Slow", "'Slow' is no queue: lower-case letters, digits, `.`, `_` and `-`"),
    ],
)
def test_a_bad_value_names_its_variable_what_is_wrong_and_what_may_be(name: str, raw: str, wrong: str) -> None:
    with pytest.raises(Usage) as caught:
        load({f"AUTOMATA_{name}": raw})
    assert str(caught.value) == f"AUTOMATA_{name}: {wrong}"


@pytest.mark.parametrize("text", ["- 1\n", "ports: 1\n", "a: [\n", "1: 2\n", "\x00"])
def test_a_file_that_maps_no_settings_is_refused(file: Path, text: str) -> None:
    with pytest.raises(Usage, match=r"AUTOMATA_CONFIG: .*automata\.yaml"):
        from_file(file, text)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(Usage, match="cannot be read"):
        load({"AUTOMATA_CONFIG": str(file)})


def test_what_a_secret_setting_holds_is_in_no_message_and_no_repr(file: Path) -> None:
    with pytest.raises(Usage, match="AUTOMATA_TOKEN") as caught:
        from_file(file, "token: [hunter2]\n")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(load({"AUTOMATA_TOKEN": "hunter2"}))
    with pytest.raises(Usage, match="AUTOMATA_DATABASE_URL: what it holds is no text") as caught:
        from_file(file, "database_url: {postgresql: hunter2}\n")
    assert "hunter2" not in str(caught.value)


def test_every_setting_may_come_from_the_environment_and_says_what_it_is_for() -> None:
    samples = {"str": "http://x", "int": "5", "float": "1", "bool": "1", "tuple[str, ...]": "x"}
    env = {variable(item.name): samples[str(item.type)] for item in fields(Settings)}
    env |= {"AUTOMATA_LOG_LEVEL": "debug", "AUTOMATA_LOG_FORMAT": "json", "AUTOMATA_LEASE_SEC": "2"}
    env["AUTOMATA_METRICS_TOKEN"] = "m" * 32
    env["AUTOMATA_TRUSTED_PROXIES"] = "10.0.0.0/8"
    settings = load(env)
    assert [item.name for item in fields(Settings) if getattr(settings, item.name) == item.default] == ["trace_ratio"]
    assert all(item.metadata["rules"].doc for item in fields(Settings))


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"AUTOMATA_HEARTBEAT_SEC": "30"}, "AUTOMATA_HEARTBEAT_SEC (30) is not less than AUTOMATA_LEASE_SEC (30)"),
        ({"AUTOMATA_LEASE_SEC": "5"}, "AUTOMATA_HEARTBEAT_SEC (10) is not less than AUTOMATA_LEASE_SEC (5)"),
        ({"AUTOMATA_DATABASE_DIRECT_URL": "postgresql://db/x"}, "without AUTOMATA_DATABASE_URL"),
        ({"AUTOMATA_LOG_LEVEL": "loud"}, "AUTOMATA_LOG_LEVEL: 'loud' is none of debug"),
        ({"AUTOMATA_LOG_FORMAT": "xml"}, "AUTOMATA_LOG_FORMAT: 'xml' is none of text, json"),
        ({"AUTOMATA_POOL_SIZE": "0"}, "AUTOMATA_POOL_SIZE: '0' is not 1 or more"),
        ({"AUTOMATA_CONCURRENCY": "0"}, "AUTOMATA_CONCURRENCY: '0' is not 1 or more"),
        ({"AUTOMATA_BATCH": "0"}, "AUTOMATA_BATCH: '0' is not 1 or more"),
        ({"AUTOMATA_TRUSTED_PROXIES": "proxy.example.com"}, "'proxy.example.com' is neither an address nor a network"),
        ({"AUTOMATA_PORT": "65536"}, "AUTOMATA_PORT: '65536' is not 0 to 65535"),
    ],
)
def test_settings_that_no_part_could_work_with_are_refused_by_all(env: dict[str, str], words: str) -> None:
    with pytest.raises(Usage, match=re.escape(words)):
        load(env)


def test_a_variable_that_nothing_reads_is_said_with_the_nearest_name(caplog: pytest.LogCaptureFixture) -> None:
    env = {"AUTOMATA_RETENTON_DAYS": "30", "AUTOMATA_XYZZY": "", "AUTOMATA_PORT": "1", "automata_x": "", "HOME": "/"}
    assert unknown_variables(env) == {"AUTOMATA_RETENTON_DAYS": "AUTOMATA_RETENTION_DAYS", "AUTOMATA_XYZZY": None}
    with caplog.at_level(logging.WARNING):
        warn_of_unknown_variables(env)
    assert caplog.messages == [
        "AUTOMATA_RETENTON_DAYS is no setting; did you mean AUTOMATA_RETENTION_DAYS?",
        "AUTOMATA_XYZZY is no setting",
    ]


def test_what_kubernetes_says_of_a_service_is_no_misspelt_setting() -> None:
    link = {"AUTOMATA_HOOKS_SERVICE_HOST": "10.0.0.1", "AUTOMATA_HOOKS_PORT": "tcp://10.0.0.1:80"}
    assert unknown_variables({**link, "AUTOMATA_HOOKS_PORT_80_TCP_ADDR": "10.0.0.1"}) == {}
    assert unknown_variables({"AUTOMATA_HOOKS_PORT": "tcp://10.0.0.1:80"}) != {}


def test_names_of_secrets_are_chosen_and_known() -> None:
    assert unknown_variables({"AUTOMATA_SECRET_CRM": "", "AUTOMATA_VAULT_ROLE": "", "AUTOMATA_SECRETS_DIR": ""}) == {}


def test_every_variable_that_the_code_the_docs_and_the_manifests_name_is_known() -> None:
    texts = [path for top in ("automata", "docs", "deploy") for path in (ROOT / top).rglob("*") if path.is_file()]
    kinds = {".py", ".md", ".yaml", ".yml", ".service", ".env", ".conf", ".html", ""}
    named = {
        name.rstrip("_"): path
        for path in texts
        if path.suffix in kinds
        for name in re.findall(r"AUTOMATA_[A-Z][A-Z_]+", path.read_text(encoding="utf-8", errors="replace"))
    }
    assert len(named) > 60
    # Beginnings of names, and the name of a secret that nobody has.
    others = {"AUTOMATA_SECRET", "AUTOMATA_VAULT", "AUTOMATA_TEST", "AUTOMATA_DOCTOR"}
    assert {name: named[name] for name in unknown_variables(dict.fromkeys(named, "")) if name not in others} == {}


def test_a_command_that_sets_plain_texts_does_not_pay_for_parsing() -> None:
    code = (
        "import sys; from automata.settings import load\n"
        "load({'AUTOMATA_API_URL': 'http://x', 'AUTOMATA_TOKEN': 'y'}, api_url='http://z')\n"
        "assert 'pydantic_settings' not in sys.modules\n"
        "load({'AUTOMATA_PORT': '1'})\n"
        "assert 'pydantic_settings' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
