"""Lanes and steps of `task_queue` that stand for something other than a lane of workers and a step of a flow.

No flow can use them: a queue's name begins with a letter or digit, and so does the id of a step.
"""

from __future__ import annotations

from typing import Final, LiteralString

from automata.engine.fairness import HEAD_START_SEC

ADVANCE: Final = "@advance"  # the lane of the orchestrators
CREATED: Final = ""  # the step of a new run's first wake-up
CANCEL: Final = "!cancel"  # the step of a request to cancel
NO_STEP: Final = ""  # the step of a dead letter that is its run's own

# Text, not parameters, in every statement (store/sql): the planner knows from statistics how many rows have a value
# that it sees, and a prepared statement has fewer values to send.
SQL_FRAGMENTS: dict[str, LiteralString] = {
    "ADVANCE": f"'{ADVANCE}'",
    "CREATED": f"'{CREATED}'",
    "CANCEL": f"'{CANCEL}'",
    "NO_STEP": f"'{NO_STEP}'",
    # What is begun is due as if it had waited for the whole head start: it goes before runs that are new.
    "HEAD_START": f"interval '{int(HEAD_START_SEC)} s'",
}
