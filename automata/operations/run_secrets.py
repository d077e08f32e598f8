"""What of runs nobody is shown: secret inputs and outputs, of the run and of those that called it or that it called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from automata.flow.plan import item_of
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version
from automata.operations.masking import mask_outputs, mask_values
from automata.store.run_secret_values import secret_values_around

Mask = Callable[[Any], Any]


async def run_mask(context: AppContext, id: UUID) -> Mask:
    """The mask of `masking.mask_values` for one run."""
    return (await run_masks(context, [id]))[id]


async def run_masks(context: AppContext, ids: Iterable[UUID]) -> dict[UUID, Mask]:
    """The masks of many runs, for which all is read together."""
    runs = set(ids)
    if not runs:
        return {}
    async with context.db.connection() as conn:
        values = await secret_values_around(conn, runs)
    return {run: mask_values(values.get(run, ())) for run in runs}


def shown_outputs(version: Version, step: str, outputs: Any) -> Any:
    """Outputs of a step (`""`: of the run) with `***` in the place of secret ones."""
    return mask_outputs(version.secret_outputs.get(_base(step), frozenset()), outputs)


def _base(step: str) -> str:
    item = item_of(step)
    return item[0] if item else step
