"""A delivery is signed for one webhook: with a secret that others have too it counts nowhere else."""

from __future__ import annotations

import pytest

from automata.flow.webhook import signature
from automata.operations.webhook_secrets import WebhookSecrets
from tests.api.deliveries import HOOK, INPUTS, SECRET, post, ready, signed

OTHER = {"name": "other", "secret": "SHOP"}


async def test_a_delivery_counts_at_the_webhook_that_it_names_and_at_no_other(site):
    await ready(site, HOOK, OTHER)
    await site.flow("refunds", webhooks=[HOOK], inputs=INPUTS)
    headers = signed(where="orders/shop")
    assert (await post(site, headers=headers)).status_code == 201
    for where in ("orders/other", "refunds/shop"):
        assert (await post(site, headers=headers, where=where)).json()["code"] == "bad_signature"


async def test_a_signature_that_names_no_webhook_counts_where_its_secret_is_no_other_one_s(site):
    await ready(site)
    assert (await post(site, headers=signed(where=""))).status_code == 201


@pytest.mark.parametrize(
    ("other", "secrets"),
    [
        (OTHER, {"SHOP": SECRET}),
        ({**OTHER, "secret": "COPY"}, {"SHOP": SECRET, "COPY": SECRET}),
        ({**OTHER, "secret": "COPY"}, {"SHOP": SECRET, "COPY": f"{'x' * 20}\n{SECRET}"}),
    ],
)
@pytest.mark.parametrize("in_another_flow", [False, True])
async def test_it_counts_nowhere_where_another_webhook_has_the_secret_too(other, secrets, in_another_flow, site):
    await ready(site, *([HOOK] if in_another_flow else [HOOK, other]))
    if in_another_flow:
        await site.flow("refunds", webhooks=[other], inputs=INPUTS)
    site.context.webhook_secrets = WebhookSecrets(secrets)
    places = ["orders/shop", "refunds/other" if in_another_flow else "orders/other"]
    for where in places:
        assert (await post(site, headers=signed(where=""), where=where)).json()["code"] == "bad_signature"
        assert (await post(site, where=where)).status_code == 201


@pytest.mark.parametrize(
    "other", [{**OTHER, "enabled": False}, {**OTHER, "secret": "OWN"}, {**OTHER, "secret": "NOT_SET"}]
)
async def test_a_webhook_that_does_not_take_it_shares_nothing(other, site):
    await ready(site, HOOK, other, secrets={"SHOP": SECRET, "OWN": "y" * 20})
    assert (await post(site, headers=signed(where=""))).status_code == 201


def test_no_text_is_signed_for_two_webhooks() -> None:
    signatures = [
        signature(SECRET, "1", "d", b"5", "a/b.1"),
        signature(SECRET, "1", "d", b"1.5", "a/b"),
        signature(SECRET, "1", "d", b"5", "a/b"),
        signature(SECRET, "1", "d", b"5"),
        signature(SECRET, "1", "d", b"b:5", "a"),
        signature(SECRET, "1", "d.a/b:", b"5"),
    ]
    assert len(set(signatures)) == len(signatures)
