"""The `flow` step: another flow as a step. The child is a run of its own; waiting for it holds no worker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from automata.engine.decision import CHILD_CANCELLED, CHILD_FAILED, FOREVER, Call, Done, WaitUntil
from automata.engine.states import WaitKind
from automata.errors import Invalid

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class FlowStep:
    """Outputs are those of the child, and `run_id`; with `wait: false` only that."""

    def begin(self, config: Mapping[str, Any], now: datetime) -> Call:
        """Ask for the run. Raises Invalid `bad_config`."""
        flow, inputs, wait = config.get("flow"), config.get("inputs"), config.get("wait", True)
        if not isinstance(flow, str) or not _NAME.fullmatch(flow):
            raise Invalid(f"`flow` must be the name of a flow; it is {ascii(flow)[:60]}.", code="bad_config")
        if not isinstance(inputs, Mapping | None):
            raise Invalid(f"`inputs` must be a mapping; it is {ascii(inputs)[:60]}.", code="bad_config")
        if not isinstance(wait, bool):
            raise Invalid(f"`wait` must be true or false; it is {ascii(wait)[:60]}.", code="bad_config")
        return Call(flow, dict(inputs or {}), wait)

    def wake(self, since: datetime, now: datetime, arrived: Any = None) -> Done | WaitUntil:
        """`arrived`: {run_id, wait, status, outputs, error} of the child; `status` None while it runs.

        Raises Invalid when the child did not succeed.
        """
        if arrived is None:
            return WaitUntil(FOREVER, WaitKind.CHILD_RUN)
        run, status = arrived["run_id"], arrived["status"]
        if not arrived["wait"]:
            return Done({"run_id": run})
        if status is None:
            return WaitUntil(FOREVER, WaitKind.CHILD_RUN)
        if status == "SUCCEEDED":
            outputs = arrived["outputs"]
            return Done({**(outputs if isinstance(outputs, Mapping) else {}), "run_id": run})
        error = arrived["error"] or {}
        why = f": {error['message']}" if error.get("message") else "."
        words, code = ("was cancelled", CHILD_CANCELLED) if status == "CANCELLED" else ("failed", CHILD_FAILED)
        raise Invalid(f"The run {run} {words}{why}", code=code)
