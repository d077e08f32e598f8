"""The token that reads /metrics, and nothing else."""

from __future__ import annotations

import pytest

from automata.errors import Usage
from automata.settings import load
from tests.api.conftest import V1, OpenSite

TOKEN = "m" * 32


async def test_it_reads_metrics_and_nothing_else(open_site: OpenSite) -> None:
    site = await open_site(auth="on", metrics="viewers", metrics_token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await site.http.get("/metrics", headers=headers)
    assert (answer.status_code, "automata_database_up 1.0" in answer.text) == (200, True)
    for path in (f"{V1}/flows", f"{V1}/processes", f"{V1}/audit"):
        assert (await site.http.get(path, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"bearer {TOKEN}", "Bearer \u00e9"]
)
@pytest.mark.parametrize("token", ["", TOKEN])
async def test_nothing_but_it_does(sent: str, token: str, open_site: OpenSite) -> None:
    site = await open_site(auth="on", metrics="viewers", metrics_token=token)
    headers = [(b"authorization", sent.encode())] if sent else []
    assert (await site.http.get("/metrics", headers=headers)).status_code == 401


def test_one_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(Usage, match="AUTOMATA_METRICS_TOKEN"):
        load({"AUTOMATA_METRICS_TOKEN": "short"})
