"""`jwt_sign`: a JSON Web Token. The same claims and key give the same token, wherever and however often it is made.

ECDSA draws a number by chance for each signature, as most libraries do it. Here the number is that of RFC 6979, so that
a rehearsal, a replay and a second attempt send what the first one sent. PSS cannot do without chance and is left out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from automata.flow.budget import Budget, misfit
from automata.flow.codecfilters import encoded, key_bytes
from automata.flow.values import dump_json, kind

MAX_CLAIMS = 100_000
MAX_KEY = 16_384
# Measured: to read and to use an RSA key of 4,096 bits takes 15 ms, one of a curve and a secret far less.
_COSTS: Mapping[str, int] = {"HS": 2_000, "RS": 300_000, "ES": 50_000, "Ed": 50_000}
_HASHES: Mapping[str, str] = {"256": "sha256", "384": "sha384", "512": "sha512"}
JWT_ALGORITHMS = frozenset({"EdDSA", *(family + size for family in ("HS", "RS", "ES") for size in _HASHES)})


def jwt_sign(
    budget: Budget, value: Any, key: Any, algorithm: str = "HS256", headers: Any = None, key_encoding: str = "text"
) -> str:
    """The signed token of an object of claims. `key` is the shared secret of HS256 to HS512, else a private key as PEM.

    `headers` adds to the header, such as `{'kid': '7'}`.
    """
    if type(algorithm) is not str or algorithm not in JWT_ALGORITHMS:
        raise misfit(f"`algorithm` is one of {', '.join(sorted(JWT_ALGORITHMS))}.")
    if type(value) is not dict or type(headers) not in (dict, type(None)):
        raise misfit(f"The claims and the headers of a token are objects, not {kind(value)}.")
    budget.pay(_COSTS[algorithm[:2]])
    header = {"alg": algorithm, "typ": "JWT"} | (headers or {}) | {"alg": algorithm}
    parts = [dump_json(budget, header).encode(), dump_json(budget, value).encode()]
    if sum(map(len, parts)) > MAX_CLAIMS:
        raise misfit(f"The claims and headers of a token have at most {MAX_CLAIMS:,} bytes.")
    secret = key_bytes(budget, key, key_encoding)
    if not 0 < len(secret) <= MAX_KEY:
        raise misfit(f"The key of a token has 1 to {MAX_KEY:,} bytes.")
    text = ".".join(encoded(part, "base64url") for part in parts)
    token = f"{text}.{encoded(_signature(algorithm, text.encode(), secret), 'base64url')}"
    budget.make(len(token))
    return token


def _signature(algorithm: str, data: bytes, secret: bytes) -> bytes:
    if algorithm.startswith("HS"):
        return hmac.new(secret, data, _HASHES[algorithm[2:]]).digest()
    # Imported here: it takes 50 ms, and few flows sign tokens.
    from automata.flow.signing import signature

    signed = signature(algorithm, data, secret)
    if signed is None:
        # Nothing of the key is told.
        raise misfit(f"The key is not one for {algorithm}, which takes a private key as PEM without a password.")
    return signed


JWT_FILTERS: Mapping[str, Callable[..., Any]] = {"jwt_sign": jwt_sign}
