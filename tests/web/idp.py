"""An OpenID Connect provider on loopback, after OpenID Connect Core 1.0 and RFC 7636: strict with its client.

It signs in whoever `person` is. What it says can be bent: `claims` change an ID token, `forge` makes another one of its
claims, `documents` and `delay_sec` change what it answers at an address.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "automata", "a secret: 100% +/&"
WELL_KNOWN = "/.well-known/openid-configuration"
ADA = {"sub": "ada-1", "email": "ada@example.com", "email_verified": True, "groups": ["staff", "approvers"]}


class Idp(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, redirect_uri: str = "http://127.0.0.1:8080/sign-in/oidc/callback") -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.issuer = f"http://127.0.0.1:{self.server_port}/realms/work"
        self.redirect_uri = redirect_uri
        self.ec = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
        self.reset()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def reset(self) -> None:
        """As it was made."""
        self.person: dict[str, Any] = dict(ADA)
        self.claims: dict[str, Any] = {}
        self.forge: Callable[[dict[str, Any]], str] = self.signed
        self.key: Any = self.ec
        self.keys: list[Any] = [self.ec, self.rsa]
        self.auth_method = "client_secret_basic"
        self.documents: dict[str, bytes] = {}
        self.about: dict[str, Any] = {}
        self.delay_sec = 0.0
        self.asks = False  # a page with a button, as for a browser
        self.says: dict[str, str] = {}  # changes what comes back to the client
        self.faults: list[str] = []
        self.asked: Counter[str] = Counter()
        self._codes: dict[str, dict[str, str]] = {}

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "auth": "on",
            "public_url": self.redirect_uri.partition("/sign-in")[0],
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_roles": ("staff=viewer", "approvers=reviewer", "runners=operator"),
            "oidc_name": "Example",
            **more,
        }

    async def visit(self, address: str) -> str:
        """Where it sends a browser that comes to its page; the address of an answer that is refused fails the test."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(address)
        assert answer.status_code == 302, (answer.text, self.faults)
        return answer.headers["location"]

    def signed(self, claims: dict[str, Any]) -> str:
        algorithm = "ES256" if isinstance(self.key, ECKey) else "RS256"
        return jwt.encode({"alg": algorithm, "kid": self.key.kid}, claims, self.key)

    def answer(self, path: str, query: dict[str, str], headers: Any, body: dict[str, str]) -> tuple[int, Any]:
        """Status and body: bytes as they are, a text that is an address or a page, else JSON."""
        path = path.removeprefix("/realms/work")
        self.asked[path] += 1
        time.sleep(self.delay_sec)
        if path in self.documents:
            return 200, self.documents[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, self._describe()
            case "/keys":
                # Among them what a client leaves out: a kind that it does not know, and what is no key.
                return 200, {"keys": [{"kty": "OKP"}, 7, *(key.as_dict(private=False) for key in self.keys)]}
            case "/authorize" | "/authorize/yes":
                return self._authorize(query, path.endswith("yes"))
            case "/token":
                return self._exchange(headers, body)
        return 404, {"error": "not_found"}

    def _describe(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?realm=work",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "email", "groups"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "token_endpoint_auth_methods_supported": [self.auth_method],
            "code_challenge_methods_supported": ["S256"],
        } | self.about

    def _authorize(self, query: dict[str, str], agreed: bool) -> tuple[int, Any]:
        wanted = {
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "code_challenge_method": "S256",
            "realm": "work",
        }
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        wrong += [name for name in ("state", "nonce", "code_challenge") if len(query.get(name, "")) < 43]
        if wrong or not {"openid", "groups"} <= set(query.get("scope", "").split()):
            self.faults.append(f"authorize: {wrong} {query}")
            return 400, {"error": "invalid_request"}
        if self.asks and not agreed:
            return 200, f'<a href="/realms/work/authorize/yes?{html.escape(urlencode(query))}">Go on as Ada</a>'
        code = f"code-{len(self._codes)}-{query['state'][:8]}"
        self._codes[code] = query
        back = {"state": query["state"], "code": code} | self.says
        return 302, f"{self.redirect_uri}?{urlencode({name: value for name, value in back.items() if value})}"

    def _exchange(self, headers: Any, body: dict[str, str]) -> tuple[int, Any]:
        if not self._is_client(headers.get("authorization", ""), body):
            self.faults.append(f"token: not its client: {body}")
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(body.get("code", ""), None)  # a code is good once
        proof = base64.urlsafe_b64encode(hashlib.sha256(body.get("code_verifier", "").encode()).digest())
        fits = (
            asked is not None
            and body.get("grant_type") == "authorization_code"
            and body.get("redirect_uri") == asked["redirect_uri"]
            and proof.decode().rstrip("=") == asked["code_challenge"]
        )
        if asked is None or not fits:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        stamps = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in (stamps | self.person | self.claims).items() if value is not None}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.forge(claims)}

    def _is_client(self, authorization: str, body: dict[str, str]) -> bool:
        if self.auth_method == "client_secret_post":
            given = (body.get("client_id"), body.get("client_secret"))
            return not authorization and given == (CLIENT_ID, CLIENT_SECRET)
        kind, _, text = authorization.partition(" ")
        name, _, secret = base64.b64decode(text).decode().partition(":")
        plain = (unquote_plus(name), unquote_plus(secret))
        return kind == "Basic" and plain == (CLIENT_ID, CLIENT_SECRET) and "client_secret" not in body


class _Answers(BaseHTTPRequestHandler):
    server: Idp

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        is_form = self.headers.get("content-type") == "application/x-www-form-urlencoded"
        self._answer(_single(raw) if is_form else {})

    def _answer(self, body: dict[str, str]) -> None:
        url = urlsplit(self.path)
        status, said = self.server.answer(url.path, _single(url.query), self.headers, body)
        data = said if isinstance(said, bytes) else (said if isinstance(said, str) else json.dumps(said)).encode()
        try:
            self.send_response(status)
            if status == 302:
                self.send_header("location", said)
            self.send_header("content-type", "text/html" if isinstance(said, str) else "application/json")
            self.send_header("connection", "close")  # and no length: what reads it must count for itself
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has had enough, as it should

    def log_message(self, *_: Any) -> None:
        pass


def _single(text: str) -> dict[str, str]:
    """Each parameter once; one that is there twice is none (RFC 6749, 3.1)."""
    return {name: values[0] for name, values in parse_qs(text, strict_parsing=bool(text)).items() if len(values) == 1}
