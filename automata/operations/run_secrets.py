"""What of a run nobody is shown: its secret inputs, and the secret outputs of its steps and of the flows it called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from automata.flow.plan import item_of
from automata.flow.secret_outputs import secret_names, secret_values
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version
from automata.operations.masking import mask_outputs, masker
from automata.store.run_tasks import called_outputs, outputs_of_steps


async def run_mask(
    context: AppContext, id: UUID, version: Version, inputs: Mapping[str, Any] | None
) -> Callable[[Any], Any]:
    """The mask of `masking.masker` for one run. Most flows have no secret outputs, and nothing is read for them."""
    values: list[Any] = []
    if version.secret_outputs or version.calls_flows:
        async with context.db.connection() as conn:
            for step, outputs in await outputs_of_steps(conn, id, list(version.secret_outputs)):
                values += secret_values(version.secret_outputs[_base(step)], outputs)
            for declared, outputs in await called_outputs(conn, id) if version.calls_flows else ():
                values += secret_values(secret_names(declared), outputs)
    return masker(version.secrets, inputs or {}, values)


def shown_outputs(version: Version, step: str, outputs: Any) -> Any:
    """Outputs of a step (`""`: of the run) with `***` in the place of secret ones."""
    return mask_outputs(version.secret_outputs.get(_base(step), frozenset()), outputs)


def _base(step: str) -> str:
    item = item_of(step)
    return item[0] if item else step
