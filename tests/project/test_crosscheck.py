"""What is told of the flows of one repository together."""

from __future__ import annotations

import pytest

from automata.flow.load import validate_text
from automata.project.crosscheck import RepositoryFlow, cross_check, repository_flow


def flow(name: str, *secrets: str) -> RepositoryFlow:
    listed = ", ".join(f"{{name: hook-{index}, secret: {secret}}}" for index, secret in enumerate(secrets))
    text = f"name: {name}\nsteps:\n  - {{id: nap, type: delay, config: {{duration_sec: 1}}}}\nwebhooks: [{listed}]\n"
    read = repository_flow(validate_text(text, f"flows/{name}.yaml"), ())
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("flows", "told"),
    [
        ([flow("a", "ONE"), flow("b", "TWO")], []),
        ([flow("a", "ONE"), flow("b", "ONE")], ["flows/b.yaml"]),
        ([flow("a", "ONE"), flow("b", "TWO", "ONE"), flow("c", "ONE")], ["flows/b.yaml", "flows/c.yaml"]),
        ([flow("a", "ONE", "ONE")], []),  # told of the file alone: AF058
    ],
)
def test_a_webhook_whose_secret_is_another_flow_s_is_a_warning(flows: list[RepositoryFlow], told: list[str]) -> None:
    found = cross_check(flows)
    assert [(one.code, one.severity, one.file) for one in found] == [("AF332", "warning", file) for file in told]
    assert all(one.line == 4 and one.pointer.endswith("/secret") for one in found)
