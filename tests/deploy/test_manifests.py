"""What is in deploy/: as far as it can be checked without a container engine, a cluster or an init system."""

from __future__ import annotations

import configparser
import importlib.resources
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_command

from automata.cli import composition
from automata.cli.app import app
from automata.settings import Settings
from automata.store.tables import metadata

PORTS = {name: part.port for name, part in composition.PARTS.items()}
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
KUBERNETES = ("1.30", "1.34", "1.37")
PARTS = {"api", "scheduler", "orchestrator", "worker", "controller"}


def documents(path: Path) -> Iterator[dict[str, Any]]:
    yield from (document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document)


def resources() -> list[dict[str, Any]]:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    return [document for name in listed for document in documents(BASE / name)]


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in resources() if item["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    return {name: item["spec"]["template"]["spec"] for name, item in (of("Deployment") | of("Job")).items()}


def is_command(words: list[str]) -> bool:
    command: Any = get_command(app)
    while words and not words[0].startswith("-") and (inner := getattr(command, "commands", {})):
        command, words = inner.get(words[0]), words[1:]
        if command is None:
            return False
    known = {option for parameter in command.params for option in parameter.opts}
    return all(word in known for word in words if word.startswith("--"))


def settings_of(names: set[str]) -> set[str]:
    """Those that no setting and no other reader of the environment knows."""
    known = {f"AUTOMATA_{name.upper()}" for name in Settings.__slots__}
    read = set(re.findall(r"AUTOMATA_[A-Z_]+", "".join(p.read_text() for p in (ROOT / "automata").rglob("*.py"))))
    return {name for name in names if name.startswith("AUTOMATA_")} - known - read


# -- Kubernetes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_resource_fits_the_schemas_of_kubernetes(version: str) -> None:
    for resource in resources():
        kubernetes_validate.validate(resource, version, strict=True)


def test_every_file_of_the_base_is_part_of_it() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {path.name for path in BASE.glob("*.yaml")} == {*listed, "kustomization.yaml"}


def test_each_part_is_a_deployment_that_calls_a_command_and_is_probed_on_its_port() -> None:
    assert {name.removeprefix("automata-") for name in of("Deployment")} == PARTS
    for name, pod in pods().items():
        (container,) = pod["containers"]
        assert is_command(container["args"]), container["args"]
        if name == "automata-migrate":
            continue
        part = name.removeprefix("automata-")
        assert container["args"] == [part, "--port", str(PORTS[part])]
        assert container["ports"] == [{"name": "http", "containerPort": PORTS[part]}]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "a database that is down restarts nobody"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert pod["terminationGracePeriodSeconds"] > Settings().drain_sec + 10


def test_no_pod_may_do_more_than_it_must() -> None:
    for pod in pods().values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_settings_of_pods_exist_and_credentials_come_from_secrets() -> None:
    names = set(of("ConfigMap")["automata"]["data"])
    for pod in pods().values():
        for entry in pod["containers"][0]["env"]:
            names.add(entry["name"])
            secret = re.search(r"(_URL|TOKEN|SECRET|PASSWORD)$", entry["name"])
            assert not secret or "secretKeyRef" in entry["valueFrom"], entry
    assert settings_of(names) == set()


def test_everything_is_denied_first_and_budgets_name_pods_that_there_are() -> None:
    policies = of("NetworkPolicy")
    deny = policies["automata-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    metrics = {port["port"] for port in policies["automata-metrics"]["spec"]["ingress"][0]["ports"]}
    assert metrics == set(PORTS.values())
    world = policies["automata-worker-world"]["spec"]["egress"][0]["to"]
    assert "169.254.0.0/16" in world[0]["ipBlock"]["except"], "the node's metadata service"
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in of("Deployment").values()]
    for budget in of("PodDisruptionBudget").values():
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert any(wanted.items() <= pod.items() for pod in labels)


def test_keda_asks_the_database_a_question_that_it_can_answer(database_url: str) -> None:
    (scaled,) = (
        item for item in documents(DEPLOY / "kubernetes/keda/scaled-object.yaml") if item["kind"] == "ScaledObject"
    )
    assert scaled["spec"]["scaleTargetRef"]["name"] in of("Deployment")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    with psycopg.connect(database_url) as conn:
        assert conn.execute(query).fetchone() == (0,)
        plan = "\n".join(row[0] for row in conn.execute("EXPLAIN " + query))
        for lane, sec in (("default", 0), ("slow", 0), ("slow", 0), ("@advance", 0), ("eu", 3600)):
            conn.execute(
                "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id) VALUES (gen_random_uuid(), 's', %s,"
                " now() + make_interval(secs => %s), gen_random_uuid())",
                [lane, sec],
            )
        assert conn.execute(query).fetchone() == (3,), "what is ready in every queue, and no turn of a run"
        conn.rollback()
    assert "task_queue_ready" in plan
    assert "task_queue" in metadata.tables


def test_the_overlay_changes_what_the_base_has() -> None:
    (overlay,) = documents(DEPLOY / "kubernetes/examples/overlay/kustomization.yaml")
    folder = DEPLOY / "kubernetes/examples/overlay"
    assert all(
        (folder / place / "kustomization.yaml").exists() for place in overlay["resources"] + overlay["components"]
    )
    used = {container["image"] for pod in pods().values() for container in pod["containers"]}
    assert used == {image["name"] for image in overlay["images"]}
    for patch in overlay["patches"]:
        target = of(patch["target"]["kind"])[patch["target"]["name"]]
        for change in yaml.safe_load(patch["patch"]):
            at: Any = target
            for word in change["path"].strip("/").split("/"):
                at = at[word]


# -- Compose ---------------------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def test_the_compose_file_fits_the_specification() -> None:
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(compose())


def test_containers_are_pinned_healthy_and_on_loopback_only() -> None:
    services = compose()["services"]
    assert set(services) == {"postgres", "rabbitmq", "migrate", *PARTS}
    for name, service in services.items():
        image = service["image"]
        assert ":" in image
        assert not image.endswith(":latest")
        assert name == "migrate" or service["healthcheck"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert settings_of(set(service.get("environment", ()))) - {"AUTOMATA_POSTGRES_PASSWORD"} == set()
    for name in ("postgres", "rabbitmq"):
        assert services[name]["volumes"]
        assert "profiles" not in services[name], "make nodes starts these two alone"


def test_each_part_in_a_container_is_a_command_that_waits_for_its_tables() -> None:
    for name, service in compose()["services"].items():
        if name in ("postgres", "rabbitmq"):
            continue
        assert service["profiles"] == ["all"]
        assert is_command(service["command"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        if name in PORTS:
            assert service["healthcheck"]["test"][1:4] == ["python", "-I", "-c"], "nothing of the folder is imported"
            assert service["healthcheck"]["test"][-1] == f"http://127.0.0.1:{PORTS[name]}/readyz"
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


# -- the image -------------------------------------------------------------------------------------------------------


def test_the_image_is_built_from_what_there_is_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE), "a number: runAsNonRoot looks no names up"
    assert all(
        not image.endswith(":latest") and ":" in image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    )
    exposed = re.search(r"^EXPOSE (.+)$", text, re.MULTILINE)
    assert exposed
    assert {int(port) for port in exposed[1].split()} == set(PORTS.values())
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            assert source == "." or (ROOT / source).exists()
            assert source == "." or f"!{source.split('/')[0]}" in ignored


# -- systemd ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["automata@.service", "automata-migrate.service"])
def test_units_call_commands_and_give_up_what_they_need_not(name: str) -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read_string((DEPLOY / "systemd" / name).read_text(encoding="utf-8"))
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/automata/bin/automata"
    for part in PARTS if words == ["%i"] else ["migrate"]:
        assert is_command([part])
    assert service["User"] == "automata"
    assert service["NoNewPrivileges"] == "true"
    assert service["ProtectSystem"] == "strict"
    given = {pair.split("=")[0] for pair in shlex.split(service["Environment"])}
    assert settings_of(given) - {"AUTOMATA_SECRETS_DIR"} == set()
    if name == "automata@.service":
        assert float(service["TimeoutStopSec"]) > Settings().drain_sec + 10
