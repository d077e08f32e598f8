"""The API of the Kubernetes base verifies signed webhooks, and has no other secret of flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

BASE = Path(__file__).parents[2] / "deploy/kubernetes/base"


def pod(part: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((BASE / f"{part}.yaml").read_text())
    (found,) = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    return dict(found)


@pytest.mark.parametrize(("part", "secret"), [("api", "automata-webhook-secrets"), ("worker", "automata-flow-secrets")])
def test_secrets_are_files_where_the_part_looks_for_them(part: str, secret: str) -> None:
    spec = pod(part)
    (container,) = spec["containers"]
    (folder,) = [one["value"] for one in container["env"] if one["name"] == "AUTOMATA_SECRETS_DIR"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == folder]
    (volume,) = [one for one in spec["volumes"] if one["name"] == mount["name"]]
    assert mount["readOnly"] is True
    assert volume["secret"] == {"secretName": secret, "optional": True}


@pytest.mark.parametrize("part", ["api", "scheduler", "orchestrator", "controller"])
def test_only_workers_have_the_secrets_of_flows(part: str) -> None:
    assert "automata-flow-secrets" not in str(pod(part))
