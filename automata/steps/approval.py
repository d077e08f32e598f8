"""The `approval` step: waits until a person has decided, or until it expires. It holds no worker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from automata.engine.decision import FOREVER, Done, WaitUntil
from automata.engine.states import WaitKind
from automata.errors import Invalid
from automata.flow.steptypes import MAX_DELAY_SEC


class ApprovalStep:
    """Outputs `approved`, `by`, `comment`. A refusal is a success with `approved: false`: conditions branch on it."""

    def begin(self, config: Mapping[str, Any], now: datetime) -> WaitUntil:
        """Wait for `expires_sec`, or for ever. Raises Invalid `bad_config`."""
        prompt, seconds = str(config.get("prompt") or ""), config.get("expires_sec")
        if "\0" in prompt:
            raise Invalid("`prompt` holds the character U+0000, which cannot be stored.", code="bad_config")
        if seconds is None:
            return WaitUntil(FOREVER, WaitKind.APPROVAL, prompt)
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 < seconds <= MAX_DELAY_SEC:
            raise Invalid(
                f"`expires_sec` must be more than 0 and at most {MAX_DELAY_SEC}; it is {ascii(seconds)[:60]}.",
                code="bad_config",
            )
        return WaitUntil(now + timedelta(seconds=seconds), WaitKind.APPROVAL, prompt)

    def wake(self, since: datetime, now: datetime, arrived: Any = None) -> Done:
        """`arrived`: {approved, by, comment}; None when the time is over. Raises Invalid `approval_expired`."""
        if arrived is None:
            raise Invalid("Nobody decided in time.", code="approval_expired")
        return Done({name: arrived[name] for name in ("approved", "by", "comment")})
