"""The signatures of JSON Web Algorithms (RFC 7518, 8037) that are made with a private key, all without chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# RFC 7518, 3.3. Larger ones than these cost a tenth of a second each.
_RSA_BITS = range(2048, 4096 + 1)
_HASHES: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


def signature(algorithm: str, data: bytes, pem: bytes) -> bytes | None:
    """The signature of `data`; None when the key is no private key, or one of another kind, curve or size."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data) if algorithm == "EdDSA" else None
    if isinstance(key, rsa.RSAPrivateKey) and algorithm.startswith("RS") and key.key_size in _RSA_BITS:
        return key.sign(data, padding.PKCS1v15(), _HASHES[algorithm[2:]]())
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == _CURVES.get(algorithm):
        signed = key.sign(data, ec.ECDSA(_HASHES[algorithm[2:]](), deterministic_signing=True))
        size = (key.curve.key_size + 7) // 8
        return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signed))
    return None
