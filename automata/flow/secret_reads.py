"""Which outputs of which steps are secret: those that say so, and those that a secret output of the flow is made of."""

from __future__ import annotations

from automata.flow.model import Flow
from automata.flow.template import compile_value


def secret_outputs_of(flow: Flow) -> dict[str, frozenset[str]]:
    """The names by full step id, those of the flow itself under ""; empty for most flows."""
    steps = dict(flow.walk())
    secret = {full: step.secret_outputs for full, step in steps.items() if step.secret_outputs}
    if flow.secret_outputs:
        full_ids = {**{step.id: full for full, step in steps.items()}, **{full: full for full in steps}}
        for short, name in _read_by(flow):
            full = full_ids.get(short, short)
            secret[full] = secret.get(full, frozenset()) | {name}
        secret[""] = flow.secret_outputs
    return secret


def _read_by(flow: Flow) -> list[tuple[str, str]]:
    """(step, output) of what the secret outputs of the flow read as it is."""
    outputs = flow.outputs or {}
    references = compile_value({name: outputs[name] for name in flow.secret_outputs}).references
    paths = [reference.path for reference in references if reference.root == "steps"]
    return [(path[0], path[2]) for path in paths if len(path) > 2 and path[1] == "outputs"]
