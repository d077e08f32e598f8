"""A server on this machine with a proxy in front of it: whom it lets in, and under which names."""

from __future__ import annotations

import pytest

from tests.api.conftest import V1, OpenSite

PASSED_ON = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"x-forwarded-proto": "https"},
    {"X-Forwarded-Host": "automata.example.com"},
    {"Forwarded": "for=203.0.113.9"},
    {"X-Real-IP": "203.0.113.9"},
    {"Via": "1.1 proxy"},
]
PUBLIC = {"public_url": "https://automata.example.com"}


@pytest.mark.parametrize("headers", PASSED_ON, ids=[name for item in PASSED_ON for name in item])
async def test_what_a_proxy_passed_on_is_refused_where_everybody_is_let_in(
    headers: dict[str, str], open_site: OpenSite
) -> None:
    site = await open_site()
    assert (await site.http.get(f"{V1}/flows")).status_code == 200
    refused = await site.http.get(f"{V1}/flows", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "behind_a_proxy")
    assert "AUTOMATA_TRUSTED_PROXIES" in refused.text


@pytest.mark.parametrize("named", [PUBLIC, {"trusted_proxies": ("10.0.0.5",)}, {"auth": "on"}])
@pytest.mark.parametrize("headers", [{}, PASSED_ON[0]])
async def test_behind_a_proxy_a_token_is_asked_for(named: dict, headers: dict[str, str], open_site: OpenSite) -> None:
    site = await open_site(**named)
    for path in (f"{V1}/flows", "/metrics") if "auth" not in named else (f"{V1}/flows",):
        assert (await site.http.get(path, headers=headers)).status_code == 401
    assert (await site.http.get("/healthz", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("named", "status"), [({}, 403), ({"auth": "on"}, 403), (PUBLIC, 401), ({"trusted_proxies": ("10.0.0.5",)}, 401)]
)
async def test_a_foreign_name_is_ours_where_others_reach_us(named: dict, status: int, open_site: OpenSite) -> None:
    site = await open_site(**named)
    answer = await site.http.get(f"{V1}/flows", headers={"Host": "automata.example.com"})
    assert answer.status_code == status
