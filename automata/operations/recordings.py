"""Recorded runs as documents: what `automata record` writes to a file, and what a replay goes by."""

from __future__ import annotations

from typing import Any

from automata.operations.masking import mask_inputs, masker
from automata.sandbox.recorded import FORMAT
from automata.store.recordings import RecordedRun


def recording_document(run: RecordedRun) -> dict[str, Any]:
    """The document of automata/sandbox/recorded.py. Secret inputs are masked wherever their text turned up."""
    secret = frozenset(name for name, spec in run.spec.get("inputs", {}).items() if spec.get("secret"))
    mask = masker(secret, run.inputs)
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
        "outputs": mask(run.outputs),
        "error": mask(run.error),
        "steps": mask(run.steps),
        "given": mask(run.given),
        "exchanges": mask(run.exchanges),
    }
