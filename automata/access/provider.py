"""The OpenID Connect provider: where it says that its addresses are, its keys, and what it gives for a code.

Failure argument. All that it says may be wrong. An answer is read to MAX_BYTES and for REQUEST_SEC at most, redirects
are not followed, and addresses that it names must be https as its own is. What it says about itself counts when it
names the issuer that is set. A signature is checked with keys that its own address gave, by two algorithms and no
other, so neither `none` nor a public key used as a password passes. Keys are asked for once more when a token names
another one.
Calls go through the transport of steps: no link-local or metadata address, whatever a name resolves to; but not through
the lists for flows, since this address was chosen by the operator and not by an author.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote_plus

import orjson

from automata import DISTRIBUTION
from automata.access.idtoken import InvalidIdToken, Keys, UnknownKey, Verifier
from automata.access.oidc import AccessDenied, ProviderConfig
from automata.access.pending_signin import PendingSignin
from automata.caching import SingleFlightCache
from automata.errors import Unavailable, Usage
from automata.steps.contract import HttpRequest, HttpResponse, TransportError
from automata.steps.egress import EgressPolicy, HttpTransport, TransportLimits
from automata.steps.urls import parse_url

WELL_KNOWN = "/.well-known/openid-configuration"
REQUEST_SEC = 5.0
MAX_BYTES = 256 * 1024
CACHE_SEC = 3600.0  # what it says about itself, and its keys
MAX_CODE_CHARS = 4_000
_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_JSON = ("accept", "application/json")

log = logging.getLogger(__name__)


class Provider:
    """`request_sec` bounds each of the three calls of a sign-in."""

    def __init__(self, config: ProviderConfig, *, request_sec: float = REQUEST_SEC) -> None:
        # Here and not above: nobody else pays for these packages, in time or in space.
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        self.config = config
        self.request_sec = request_sec
        self._client_auth = ClientAuth
        self._grant_uri = prepare_grant_uri
        self._token_request = prepare_token_request
        self._challenge = create_s256_code_challenge
        self._verifier = Verifier(config.issuer, config.client_id)
        self._documents: SingleFlightCache[bytes, Mapping[str, Any]] = SingleFlightCache(
            self._read_document, ttl_sec=CACHE_SEC
        )
        self._keys: SingleFlightCache[bytes, Keys] = SingleFlightCache(self._read_keys, ttl_sec=CACHE_SEC)

    async def authorization_url(self, pending: PendingSignin) -> str:
        """The provider's page for this sign-in. Raises Unavailable."""
        about = await self._about()
        offered = about.get("scopes_supported")
        # Some put groups in behind a scope of that name, others refuse a scope that they do not know.
        extra = [self.config.claim] if isinstance(offered, list) and self.config.claim in offered else []
        return str(
            self._grant_uri(
                about["authorization_endpoint"],
                client_id=self.config.client_id,
                response_type="code",
                redirect_uri=self.config.redirect_uri,
                scope=" ".join(dict.fromkeys(["openid", "email", "profile", *extra])),
                state=pending.state,
                nonce=pending.nonce,
                code_challenge=self._challenge(pending.verifier),
                code_challenge_method="S256",
            )
        )

    async def redeem(self, pending: PendingSignin, code: str, issuer: str | None) -> Mapping[str, Any]:
        """The claims of the ID token that the code is for; `issuer` as the answer named it (RFC 9207).

        Raises AccessDenied, Unavailable.
        """
        about = await self._about()
        required = about.get("authorization_response_iss_parameter_supported") is True
        if issuer != self.config.issuer and (required or issuer is not None):
            raise AccessDenied("The answer names another provider than the one that was asked.", code="wrong_provider")
        token = await self._exchange(about, pending, code)
        try:
            return await self._verified(token, pending.nonce)
        except InvalidIdToken as error:
            log.warning("the provider's ID token is refused", extra={"issuer": self.config.issuer, "why": error.why})
            raise AccessDenied(
                f"What {self.config.name} says about you cannot be believed: {error.why}.",
                code="bad_id_token",
                hint="Try again; if it stays, whoever runs Automata finds more in its log.",
            ) from error

    async def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        key = str((await self._about())["jwks_uri"]).encode()
        try:
            return self._verifier.verified(token, await self._known_keys(key), nonce)
        except UnknownKey:
            self._keys.clear()  # they may have been changed since; once, for what is unknown then stays so
        return self._verifier.verified(token, await self._known_keys(key), nonce)

    async def _known_keys(self, url: bytes) -> Keys:
        keys = await self._keys.get(url)
        assert keys is not None
        return keys

    async def _exchange(self, about: Mapping[str, Any], pending: PendingSignin, code: str) -> str:
        methods = about.get("token_endpoint_auth_methods_supported")
        by_body = isinstance(methods, list) and "client_secret_post" in methods
        credentials = (self.config.client_id, self.config.client_secret)
        if not by_body:
            credentials = (quote_plus(credentials[0]), quote_plus(credentials[1]))  # RFC 6749, 2.3.1
        auth = self._client_auth(*credentials, "client_secret_post" if by_body else "client_secret_basic")
        body = self._token_request(
            "authorization_code", redirect_uri=self.config.redirect_uri, code=code, code_verifier=pending.verifier
        )
        url, headers, body = auth.prepare(
            "POST", about["token_endpoint"], {"content-type": "application/x-www-form-urlencoded"}, body
        )
        answer = await self._send(HttpRequest("POST", url, (*headers.items(), _JSON), str(body).encode()))
        content = _object(answer)
        if answer.status != 200:
            self._refused(answer.status, content)
        token = content.get("id_token")
        if not isinstance(token, str):
            self._unusable("its answer to a code holds no ID token")
        return token

    def _refused(self, status: int, content: Mapping[str, Any]) -> NoReturn:
        why = str(content.get("error", status))[:100]
        if why == "invalid_grant":
            raise AccessDenied(
                f"{self.config.name} does not take its own code back.",
                code="code_refused",
                hint="It was used before, or is too old. Sign in again.",
            )
        self._unusable(f"it answers a code with {why!r}")

    async def _about(self) -> Mapping[str, Any]:
        document = await self._documents.get(b"")
        assert document is not None
        return document

    async def _read_document(self, _: bytes) -> tuple[Mapping[str, Any], float]:
        document = await self._get(self.config.issuer.rstrip("/") + WELL_KNOWN)
        if document.get("issuer") != self.config.issuer:
            self._unusable(
                f"it calls itself {str(document.get('issuer'))[:200]!r}, and AUTOMATA_OIDC_ISSUER is another"
            )
        for name in _ADDRESSES:
            if not self._is_safe(document.get(name)):
                self._unusable(f"its {name} is no address of https")
        return document, CACHE_SEC

    def _is_safe(self, text: Any) -> bool:
        try:
            url = parse_url(text) if isinstance(text, str) and text.isascii() else None
        except ValueError:
            return False
        return url is not None and (url.scheme == "https" or self.config.is_local) and not url.fragment and not url.user

    async def _read_keys(self, url: bytes) -> tuple[Keys, float]:
        keys = self._verifier.keys(await self._get(url.decode()))
        if keys is None:
            self._unusable("none of its keys can check a signature")
        return keys, CACHE_SEC

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._send(HttpRequest("GET", url, (_JSON,)))
        if answer.status != 200:
            self._unusable(f"GET {url} answers {answer.status}")
        if not (content := _object(answer)):
            self._unusable(f"GET {url} answers no JSON object")
        return content

    async def _send(self, request: HttpRequest) -> HttpResponse:
        transport = HttpTransport(
            EgressPolicy(allow_loopback=self.config.is_local), TransportLimits(connections=1, dns_threads=1)
        )
        bounded = HttpRequest(
            request.method, request.url, request.headers, request.body, self.request_sec, MAX_BYTES, False
        )
        try:
            answer = await transport.send(bounded)
        except TransportError as error:
            self._unusable(str(error))
        finally:
            await transport.close()
        if answer.body_error:
            self._unusable(answer.body_error)
        return answer

    def _unusable(self, why: str) -> NoReturn:
        """The log says what; whoever wants to sign in can do nothing about it."""
        log.error("the provider for signing in cannot be used", extra={"issuer": self.config.issuer, "why": why})
        raise Unavailable(
            f"Signing in with {self.config.name} does not work at the moment.",
            code="provider_unavailable",
            hint="Try again, or sign in with a token. Automata's log says what is wrong.",
        )


def provider_of(config: ProviderConfig | None) -> Provider | None:
    """Raises Usage when the extra is missing."""
    if config is None:
        return None
    try:
        return Provider(config)
    except ImportError as error:
        raise Usage(
            "AUTOMATA_OIDC_ISSUER is set and the packages for it are missing.",
            code="no_oidc",
            hint=f"pip install '{DISTRIBUTION}[oidc]'",
        ) from error


def _object(answer: HttpResponse) -> Mapping[str, Any]:
    """What it says as JSON; nothing where that is no object."""
    try:
        content = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
