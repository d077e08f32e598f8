"""A client that does what it is told to do: it asks again with the same Idempotency-Key until it has an answer."""

from __future__ import annotations

import time

import httpx


def start(client: httpx.Client, flow: str, n: int, seconds: float = 300) -> str:
    """The id of the run that was accepted for `n`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = client.post(
                f"/api/v1/flows/{flow}/runs", json={"inputs": {"n": n}}, headers={"Idempotency-Key": f"k{n}"}
            )
            if answer.status_code in (200, 201):
                return str(answer.json()["id"])
            assert answer.status_code in (429, 503), answer.text
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"run {n} was not accepted within {seconds} s"
        time.sleep(0.05)
