"""Requests that are being answered: a bound, a share for each client, and probes apart."""

from __future__ import annotations

import pytest

from automata.errors import Busy
from automata.http.in_flight import MAX_PROBES, InFlight


def test_a_client_that_holds_its_share_keeps_nobody_else_out() -> None:
    requests = InFlight(most=8, share=2)
    for _ in range(2):
        requests.enter("a", "/x")
    with pytest.raises(Busy, match="of your address"):
        requests.enter("a", "/x")
    for client in "bcd":
        requests.enter(client, "/x")
        requests.enter(client, "/x")
    with pytest.raises(Busy, match="8 requests"):
        requests.enter("e", "/x")
    requests.leave("a", "/x")
    requests.enter("e", "/x")


def test_probes_are_let_in_whatever_else_is_and_are_bounded_too() -> None:
    requests = InFlight(most=1)
    requests.enter("a", "/x")
    for _ in range(MAX_PROBES):
        requests.enter("a", "/healthz")
    with pytest.raises(Busy, match="probes"):
        requests.enter("b", "/readyz")
    requests.leave("a", "/healthz")
    requests.enter("b", "/readyz")
    requests.leave("a", "/x")
    requests.enter("b", "/x")
