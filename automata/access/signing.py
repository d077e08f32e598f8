"""Signatures by the server's secret: on cookies, on forms, and on a sign-in that is under way.

itsdangerous makes them: HMAC-SHA256 in base64. The purpose is part of what is signed, so a signature for one is none
for another. Checking is ours, by the text: itsdangerous decodes first, and several texts decode to the same bytes.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest

from itsdangerous import Signer


class Signatures:
    """`secret` is the key as it is: sessions were opened with it before this was written."""

    def __init__(self, secret: bytes) -> None:
        self._signer = Signer(secret, key_derivation="none", digest_method=hashlib.sha256)

    def sign(self, purpose: str, text: str) -> str:
        """43 characters of `A-Za-z0-9_-`; `purpose` is one word."""
        return self._signer.get_signature(f"{purpose} {text}".encode(errors="replace")).decode()

    def fits(self, signature: str, purpose: str, text: str) -> bool:
        """Whether this is the signature of a text, in a time that does not say where it differs."""
        return compare_digest(signature.encode(errors="replace"), self.sign(purpose, text).encode())
