"""An ID token: by whom it is signed, for whom it is, and when and for which sign-in it was made."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SEC = 60  # between the provider's clock and ours
MAX_AGE_SEC = 600  # since it was made: as long as a sign-in may be under way
MAX_KEYS = 100
MAX_SUB_CHARS = 255

Keys = Any  # a joserfc KeySet: that package is there only where a provider is set


class InvalidIdToken(Exception):
    """`why` is for people and holds nothing of the token."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class UnknownKey(InvalidIdToken):
    """The keys may have been changed since they were read."""


class Verifier:
    """Checks ID tokens of one issuer that are meant for one client. Raises ImportError where joserfc is missing."""

    def __init__(self, issuer: str, client_id: str) -> None:
        from authlib.oidc.core import CodeIDToken
        from joserfc import errors, jwk, jwt

        self._issuer = issuer
        self._client_id = client_id
        self._claims = CodeIDToken
        self._errors = errors
        self._jwk = jwk
        self._decode = jwt.decode

    def keys(self, document: Mapping[str, Any]) -> Keys | None:
        """Those of a JWKS that can check a signature; None where there is none. One that cannot be read is left out."""
        listed = document.get("keys")
        usable = [key for jwk in (listed if isinstance(listed, list) else [])[:MAX_KEYS] if (key := self._key(jwk))]
        return self._jwk.KeySet(usable) if usable else None

    def verified(self, token: str, keys: Keys, nonce: str) -> Mapping[str, Any]:
        """Its claims. Raises InvalidIdToken; UnknownKey when it is signed by none of the keys."""
        try:
            decoded = self._decode(token, keys, algorithms=ALGORITHMS)
        except self._errors.InvalidKeyIdError:
            raise UnknownKey("its key is unknown") from None
        except (self._errors.JoseError, ValueError, TypeError):
            raise InvalidIdToken("its signature is not good") from None
        expected = {"nonce": nonce, "client_id": self._client_id}
        claims = self._claims(decoded.claims, decoded.header, self._required(), expected)
        now = int(time.time())
        try:
            claims.validate(now, LEEWAY_SEC)
        except self._errors.JoseError as error:
            raise InvalidIdToken(f"a claim is wrong ({error.description[:100]})") from None
        if claims["iat"] < now - MAX_AGE_SEC - LEEWAY_SEC:
            raise InvalidIdToken("it was made too long ago")
        if not 1 <= len(claims["sub"]) <= MAX_SUB_CHARS:
            raise InvalidIdToken("its `sub` names nobody")
        return decoded.claims

    def _required(self) -> dict[str, dict[str, Any]]:
        return {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "iat": {"essential": True},
        }

    def _key(self, jwk: Any) -> Any:
        """None for whatever is no public key for signatures: a symmetric one in a public document is no secret."""
        if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC") or jwk.get("use", "sig") != "sig":
            return None
        try:
            with warnings.catch_warnings(action="error", category=self._errors.SecurityWarning):  # RSA under 2048 bits
                return self._jwk.import_key(jwk)
        except (self._errors.JoseError, self._errors.SecurityWarning, ValueError, TypeError, KeyError):
            return None
