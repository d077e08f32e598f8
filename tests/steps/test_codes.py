"""The codes of failed steps and runs: each that the sources give has its sentence, and no other has."""

from __future__ import annotations

import re
from pathlib import Path

from automata.steps.codes import CODES
from automata.steps.egress import _CODES as OF_THE_NETWORK

SOURCES = Path(__file__).parents[2] / "automata"
# What ends attempts and runs; other files raise errors of the API and of settings.
FILES = [
    *(SOURCES / "steps").glob("http*.py"),
    *(
        SOURCES / f"steps/{name}.py"
        for name in ("answer_body", "approval", "delay", "egress", "execute", "flow", "policy", "registry")
    ),
    *(SOURCES / "engine").glob("*.py"),
    *(
        SOURCES / f"services/{name}.py"
        for name in ("step_waits", "completer", "executor", "orchestrator", "run_advancer", "worker")
    ),
]
GIVEN = re.compile(
    r'TransportError\(\s*"(\w+)"|_failed\(\s*"(\w+)"|\bcode="(\w+)"|"code": "(\w+)"|Failure\(.*, "(\w+)"\)'
    r'|Final = "(child_\w+)"'
)
# A provider's errors become a failed attempt with their own code (worker.py), whatever provider it is.
OF_SECRETS = {"secret_unavailable", "provider_broken"}


def test_every_code_of_a_failed_step_or_run_has_its_sentence() -> None:
    found = {name for file in FILES for groups in GIVEN.findall(file.read_text()) for name in groups if name}
    assert found | {code for _, code, _ in OF_THE_NETWORK} | OF_SECRETS == set(CODES)
