"""Recorded runs as documents: what `automata record` writes to a file, and what a replay goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.flow.model import Flow
from automata.flow.plan import item_of
from automata.flow.secret_reads import secret_outputs_of
from automata.operations.masking import mask_inputs, mask_outputs, mask_values
from automata.sandbox.recorded import FORMAT
from automata.store.recordings import RecordedRun


def recording_document(run: RecordedRun) -> dict[str, Any]:
    """The document of automata/sandbox/recorded.py. Secret inputs are masked wherever their text turned up."""
    flow = Flow.from_spec(run.spec)
    secret = frozenset(declared.name for declared in flow.inputs if declared.secret)
    outputs = secret_outputs_of(flow)
    mask = mask_values(run.secret_values)
    return {
        "version": FORMAT,
        "flow": run.flow,
        "run": {
            "id": str(run.id),
            "version": run.version,
            "commit": run.commit_sha,
            "trigger": run.trigger,
            "scheduled_for": run.scheduled_for and run.scheduled_for.isoformat(),
            "created_at": run.created_at.isoformat(),
        },
        "inputs": mask_inputs(secret, run.inputs),
        "variables": run.variables,
        "status": run.status,
        "outputs": mask(mask_outputs(outputs.get("", frozenset()), run.outputs)),
        "error": mask(run.error),
        "steps": mask(_shown(run.steps, outputs)),
        "given": mask(run.given),
        "exchanges": mask(run.exchanges),
    }


def _shown(steps: Mapping[str, Any], outputs: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    return {
        step: {**state, "outputs": mask_outputs(_names(step, outputs), state["outputs"])}
        for step, state in steps.items()
    }


def _names(step: str, outputs: Mapping[str, frozenset[str]]) -> frozenset[str]:
    item = item_of(step)
    return outputs.get(item[0] if item else step, frozenset())
