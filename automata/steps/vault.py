"""Secrets from HashiCorp Vault, OpenBao and what speaks their HTTP API: KV version 2, read when a step needs them.

Login is by token, AppRole or Kubernetes. A value is kept in memory for `cache_sec`; while Vault does not answer, one
that was read before is used for `stale_sec` more, so that a restart of Vault stops no runs. Redirects are refused: they
would carry the token to another host.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from automata.errors import AutomataError, Refused, Unavailable, Usage
from automata.flow.exact_json import dumps, loads

PREFIX = "AUTOMATA_VAULT_"
REQUEST_SEC = 5.0
MAX_ANSWER_BYTES = 1024 * 1024
MAX_CACHE_SEC = 3600.0
MAX_DOCUMENTS = 1_000
RENEW_AT = 1 / 3  # of a token's time that is left, a new one is fetched
METHODS = ("token", "approle", "kubernetes")
JWT_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"

_PATH = re.compile(r"[A-Za-z0-9_.{}-]+(/[A-Za-z0-9_.{}-]+)*")


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """`path` with `{name}` in it: a document a secret, whose field is `value`; without: one document, a field each."""

    addr: str
    method: str
    namespace: str = ""
    mount: str = "secret"
    path: str = "automata"
    auth_mount: str = ""
    role: str = ""
    token: str = ""
    token_file: str = ""
    role_id: str = ""
    secret_id: str = ""
    secret_id_file: str = ""
    jwt_file: str = JWT_FILE
    ca_file: str = ""
    cache_sec: float = 60.0
    stale_sec: float = 300.0


def config_of(env: Mapping[str, str]) -> VaultConfig | None:
    """From AUTOMATA_VAULT_*; None without AUTOMATA_VAULT_ADDR. Raises Usage for what cannot work."""
    settings = {key.removeprefix(PREFIX).lower(): value.strip() for key, value in env.items() if key.startswith(PREFIX)}
    settings = {name: value for name, value in settings.items() if value}
    if "addr" not in settings:
        if settings:
            raise _wrong("ADDR", "is not set, but other settings of Vault are")
        return None
    unknown = sorted(set(settings) - set(VaultConfig.__slots__) - {"auth"})
    if unknown:
        raise _wrong(unknown[0].upper(), "is no setting of Vault")
    values: dict[str, Any] = {"method": settings.pop("auth", "token"), **settings, "addr": settings["addr"].rstrip("/")}
    values |= {name: _seconds(name, settings[name]) for name in ("cache_sec", "stale_sec") if name in settings}
    config = VaultConfig(**values)
    _check(config)
    return config


def vault_of(env: Mapping[str, str]) -> Vault | None:
    config = config_of(env)
    return Vault(config) if config else None


class Vault:
    """A provider. `on_credential` hears every token that a login gives, so that it can be masked."""

    name = "Vault"

    def __init__(self, config: VaultConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.on_credential: Callable[[str], None] = lambda value: None
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._token_until = 0.0
        self._login = asyncio.Lock()
        self._reading: dict[str, asyncio.Lock] = {}
        self._documents: dict[str, tuple[float, Mapping[str, Any] | None]] = {}

    def credentials(self) -> Iterator[str]:
        """What this process logs in with; read from files where it is in files."""
        config = self.config
        yield from (value for value in (config.token, config.secret_id) if value)
        for file in (config.token_file, config.secret_id_file):
            if file:
                yield _file(file)

    async def get(self, name: str) -> str | None:
        """Raises Unavailable, Refused (`vault_denied`)."""
        path, field = self._place(name)
        document = await self._document(path)
        value = document.get(field) if document else None
        if value is None or isinstance(value, str):
            return value
        return dumps(value).decode()  # a number, or an object that some service wants as JSON

    async def probe(self) -> str:
        """Log in and look, for people who ask whether it works; what was found, in words. Raises as `get`."""
        path = self.config.path.replace("{name}", "AUTOMATA_DOCTOR")
        answer = await self._fetch(path)
        return f"logged in by {self.config.method}; {self.config.mount}/{path} " + (
            "has no document" if answer is None else f"has {len(answer)} fields"
        )

    async def close(self) -> None:
        """Close the connections; the object is of no use afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _place(self, name: str) -> tuple[str, str]:
        if "{name}" in self.config.path:
            return self.config.path.replace("{name}", name), "value"
        return self.config.path, name

    async def _document(self, path: str) -> Mapping[str, Any] | None:
        if (known := self._documents.get(path)) and self._clock() - known[0] < self.config.cache_sec:
            return known[1]
        # One request for all steps that want the same document at once.
        async with self._reading.setdefault(path, asyncio.Lock()):
            known = self._documents.get(path)
            if known and self._clock() - known[0] < self.config.cache_sec:
                return known[1]
            try:
                answer = await self._fetch(path)
            except Unavailable:
                limit = self.config.cache_sec + self.config.stale_sec
                if known and self._clock() - known[0] < limit:
                    return known[1]
                raise
            if len(self._documents) >= MAX_DOCUMENTS and path not in self._documents:
                self._forget()
            self._documents[path] = (self._clock(), answer)
            return answer

    def _forget(self) -> None:
        oldest = min(self._documents, key=lambda path: self._documents[path][0])
        del self._documents[oldest]
        self._reading.pop(oldest, None)

    async def _fetch(self, path: str) -> Mapping[str, Any] | None:
        place = f"{self.config.mount}/data/{quote(path)}"
        token, fresh = await self._authenticated()
        status, answer = await self._ask("GET", place, token=token)
        if status == 403 and not fresh and self._can_log_in():
            # A token may be revoked at any time: once more with a new one, and only then is it a refusal.
            self._token = None
            token, _ = await self._authenticated()
            status, answer = await self._ask("GET", place, token=token)
        if status == 404:
            return None
        if status == 403:
            raise Refused(
                f"Vault refuses to read {place}.",
                code="vault_denied",
                hint=f'The policy needs: path "{place}" {{ capabilities = ["read"] }}',
            )
        _expect_ok(status, answer, f"GET {place}")
        data = answer.get("data")
        values = data.get("data") if isinstance(data, Mapping) else None
        if not isinstance(values, Mapping):
            raise Refused(
                f"{place} is not a document of KV version 2.",
                code="vault_layout",
                hint=f"AUTOMATA_VAULT_MOUNT must name a mount of `kv` with version=2; it is {self.config.mount}.",
            )
        return values

    def _can_log_in(self) -> bool:
        return self.config.method != "token" or bool(self.config.token_file)

    async def _authenticated(self) -> tuple[str, bool]:
        """The token, and whether it was just made."""
        async with self._login:
            if self._token and self._clock() < self._token_until:
                return self._token, False
            if self.config.method == "token":
                # An agent that renews a token writes it to a file: it is read again each minute.
                token, until = self.config.token or _file(self.config.token_file), self._clock() + 60
            else:
                token, until = await self._logged_in()
            self.on_credential(token)
            self._token, self._token_until = token, until
            return token, True

    async def _logged_in(self) -> tuple[str, float]:
        place = f"auth/{self.config.auth_mount or self.config.method}/login"
        status, answer = await self._ask("POST", place, body=self._credentials())
        if status in (400, 401, 403):
            raise Refused(
                f"Vault refuses the login by {self.config.method} at {place}: {_errors(answer)}.",
                code="vault_login",
                hint="Check the role and the credential; a SecretID may have run out.",
            )
        _expect_ok(status, answer, f"POST {place}")
        auth = answer.get("auth")
        token = auth.get("client_token") if isinstance(auth, Mapping) else None
        if not isinstance(auth, Mapping) or not isinstance(token, str):
            raise Unavailable(f"Vault's answer to POST {place} has no auth.client_token.", code="vault_answer")
        lease = auth.get("lease_duration")
        seconds = float(lease) if isinstance(lease, (int, float)) and lease > 0 else MAX_CACHE_SEC
        return token, self._clock() + seconds * (1 - RENEW_AT)

    def _credentials(self) -> dict[str, str]:
        config = self.config
        if config.method == "kubernetes":
            jwt = _file(config.jwt_file)
            self.on_credential(jwt)
            return {"role": config.role, "jwt": jwt}
        secret = config.secret_id or (_file(config.secret_id_file) if config.secret_id_file else "")
        self.on_credential(secret)
        return {"role_id": config.role_id, **({"secret_id": secret} if secret else {})}

    async def _ask(
        self, method: str, path: str, *, token: str | None = None, body: Any = None
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {"X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        if self.config.namespace:
            headers["X-Vault-Namespace"] = self.config.namespace
        url = f"{self.config.addr}/v1/{path}"
        try:
            async with asyncio.timeout(REQUEST_SEC):
                request = self._open().request(
                    method, url, headers=headers, data=dumps(body) if body else None, allow_redirects=False
                )
                async with request as answer:
                    raw = await answer.content.read(MAX_ANSWER_BYTES + 1)
                    while len(raw) <= MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES)):
                        raw += more
                    return answer.status, _parsed(raw)
        except TimeoutError as error:
            raise Unavailable(
                f"Vault at {self.config.addr} did not answer within {REQUEST_SEC:g} s.", code="vault_away"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"Vault at {self.config.addr} cannot be reached: {type(error).__name__}.", code="vault_away"
            ) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust: Any = True
            if self.config.ca_file:
                trust = ssl.create_default_context(cafile=self.config.ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=10, ssl=trust),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def _parsed(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MAX_ANSWER_BYTES:
        raise Unavailable(f"Vault's answer is larger than {MAX_ANSWER_BYTES} bytes.", code="vault_answer")
    try:
        value = loads(raw) if raw else {}
    except ValueError:
        value = {}
    return value if isinstance(value, Mapping) else {}


def _expect_ok(status: int, answer: Mapping[str, Any], what: str) -> None:
    if status == 200:
        return
    if status in (301, 302, 307, 308):
        raise Refused(
            f"Vault answers {what} with a redirect, which is not followed.",
            code="vault_redirect",
            hint="AUTOMATA_VAULT_ADDR must name the active node or a load balancer in front of it.",
        )
    if status == 503:
        raise Unavailable("Vault is sealed or in maintenance.", code="vault_sealed", hint="Unseal it.")
    kind = Unavailable if status >= 500 or status in (412, 429, 472, 473) else Refused
    raise kind(f"Vault answers {what} with {status}: {_errors(answer)}.", code="vault_answer")


def _errors(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors")
    texts = [str(error)[:200] for error in errors[:3]] if isinstance(errors, list) else []
    return "; ".join(" ".join(text.split()) for text in texts) or "no reason given"


def _file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_ANSWER_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Unavailable(f"The file {path} cannot be read: {why}.", code="vault_credential") from error


def _check(config: VaultConfig) -> None:
    parts = urlsplit(config.addr)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise _wrong("ADDR", "must be http(s)://host:port")
    if config.method not in METHODS:
        raise _wrong("AUTH", f"must be one of {', '.join(METHODS)}")
    for name in ("mount", "path", "auth_mount"):
        value = getattr(config, name)
        if value and (not _PATH.fullmatch(value) or ".." in value.split("/")):
            raise _wrong(name.upper(), "must be a path of letters, digits, `_`, `-`, `.` and `/`")
    _check_login(config)
    if config.ca_file:
        try:
            ssl.create_default_context(cafile=config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _wrong("CA_FILE", f"cannot be read: {error.strerror or type(error).__name__}") from error


def _check_login(config: VaultConfig) -> None:
    if config.method == "token" and bool(config.token) == bool(config.token_file):
        raise _wrong("TOKEN", "or AUTOMATA_VAULT_TOKEN_FILE must be set, and not both")
    if config.method == "approle" and not config.role_id:
        raise _wrong("ROLE_ID", "must be set for approle")
    if config.method == "kubernetes" and not config.role:
        raise _wrong("ROLE", "must be set for kubernetes")
    try:
        list(Vault(config).credentials())
    except AutomataError as error:
        raise Usage(error.message) from error


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_CACHE_SEC:
        raise _wrong(name.upper(), f"must be 0 to {MAX_CACHE_SEC:g} seconds")
    return value


def _wrong(name: str, why: str) -> Usage:
    return Usage(f"{PREFIX}{name} {why}.", code="vault_config", hint="docs/secrets.md shows each way to log in.")
