"""Where flows come from, as `automata sync status` asks it."""

from __future__ import annotations

from datetime import UTC, datetime

from automata.store.sync import ensure_source, record_attempt

V1 = "/api/v1"


def test_without_a_source_the_list_is_empty(use):
    async def test(site):
        assert (await site.http.get(f"{V1}/sync")).json() == {"items": []}

    use(test)


def test_a_source_shows_its_conditions_and_its_last_attempts(use):
    async def test(site):
        async with site.db.transaction() as conn:
            source = await ensure_source(conn, "https://example.com/f.git", branch="main", environment="prod")
            for number in range(22):
                await record_attempt(
                    conn,
                    source.id,
                    "failed",
                    sha=f"{number:040x}",
                    started_at=datetime.now(UTC),
                    error={"step": "validate", "code": "invalid_flows", "message": "One flow is not valid."},
                )
        (shown,) = (await site.http.get(f"{V1}/sync")).json()["items"]
        assert (shown["url"], shown["environment"]) == ("https://example.com/f.git", "prod")
        assert [attempt["sha"][-2:] for attempt in shown["attempts"]][:2] == ["15", "14"]
        assert len(shown["attempts"]) == 20
        states = {one["type"]: (one["status"], one["reason"]) for one in shown["conditions"]}
        assert states["Fetched"][0] == "True"
        assert states["Validated"] == ("False", "InvalidFlows")

    use(test)
