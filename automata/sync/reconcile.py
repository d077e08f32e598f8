"""One sync: the steps of steps.py one after the other, and over again when another sync came in between.

Failure argument.
- Everything up to `guard` only reads. Git and validation run in a thread and never inside a transaction, so no lock is
  held while a disk or a network is slow.
- `apply` and `record` are one transaction under the source's advisory lock. What the plan was made from is read again
  there; when another sync changed it meanwhile, the attempt starts over from `fetch` instead of laying an older commit
  over a newer one. The head is first read before the branch is: whatever becomes current after that shows as a change.
  A process that dies before COMMIT has changed nothing; after one that dies behind it, the next attempt finds nothing
  to do.
- An environment that is pinned stays where it is: that is asked first, and again under the lock.
- A failure is recorded in a transaction of its own, and never hides the failure itself when that cannot be written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from automata.errors import Refused, Unavailable
from automata.project.source import Source
from automata.store.database import Database
from automata.sync.attempt import Attempt, OvertakenError
from automata.sync.report import SyncReport
from automata.sync.steps import STEPS, is_left_out

# Two syncs that keep overtaking each other are a misconfiguration, not a race.
MAX_STARTS = 3
_READ_AGAIN = ("git_read", "git_broken")

log = logging.getLogger(__name__)


async def sync_once(
    db: Database,
    source: Source,
    *,
    dry_run: bool = False,
    confirm: str | None = None,
    on_step: Callable[[str], None] | None = None,
) -> SyncReport:
    """Make the flows of `source` current, all or none. A dry run stops before `apply` and records nothing.

    `confirm` is the word that `Refused` (code `prune_blocked`) asked for. `on_step` hears the name of each step.
    Raises Invalid (with `diagnostics`), Refused, Conflict (`name_taken`), Missing, Usage, Unavailable (try later);
    `details` then holds `step` and `sha`. The flows that were current before stay so.
    """
    source = source.checked()
    for start in range(MAX_STARTS):
        attempt = Attempt(
            db, source, dry_run, confirm, on_step or (lambda _: None), AsyncExitStack(), branch=source.branch or ""
        )
        try:
            return await run_attempt(attempt)
        except OvertakenError:
            log.info("another sync of %s came between; starting over", source.name)
        except (Unavailable, Refused) as error:
            if error.code not in _READ_AGAIN or start:
                await attempt.failed(error)
                raise
            log.warning("%s; starting over", error)  # git gc may have been at work; the fetch makes a mirror anew
        except Exception as error:
            await attempt.failed(error)
            raise
    raise Unavailable(
        f"Other syncs of {source.name} keep coming between.",
        code="sync_overtaken",
        hint="Is it synced from several places? One controller a source is enough.",
    )


async def run_attempt(attempt: Attempt) -> SyncReport:
    """Each step in its turn. Raises OvertakenError, and what the steps raise."""
    async with attempt.stack:
        for name, step in STEPS.items():
            if not is_left_out(name, attempt):
                attempt.enter(name)
                await step(attempt)
    return attempt.report()
