"""A flood of the door keeps nobody out who has a good token, and no probe: `make soak` has it for longer."""

from __future__ import annotations

from pathlib import Path

from tests.amounts import times
from tests.promises.door import besiege


def test_who_has_a_token_and_who_probes_are_answered_while_the_door_is_stormed(
    fresh_database_url: str, tmp_path: Path
) -> None:
    siege = besiege(fresh_database_url, tmp_path, times(5))
    siege.check()
    assert siege.fires > 0, "the scheduler in the same process went on"
