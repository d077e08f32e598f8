"""A Vault to test against, strict where the real one is: made from the HTTP API pages of KV version 2, of the AppRole
and Kubernetes auth methods, of namespaces and of the error format. What it does not know is a 404, as there."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ROLE_ID, SECRET_ID, JWT = "role-id-1234", "secret-id-5678", "eyJhbGciOi.kubernetes.jwt"


@dataclass
class VaultDouble:
    """`documents`: (namespace, mount, path) -> fields. `tokens`: token -> paths that it may read, None for all."""

    documents: dict[tuple[str, str, str], dict[str, Any] | None] = field(default_factory=dict)
    tokens: dict[str, set[str] | None] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=lambda: {""})
    lease: int = 3600
    sealed: bool = False
    redirect: str = ""
    down: int | None = None
    reads: int = 0
    logins: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seen: list[web.BaseRequest] = field(default_factory=list)

    def put(self, path: str, fields: dict[str, Any] | None, *, mount: str = "secret", namespace: str = "") -> None:
        self.documents[namespace, mount, path] = fields

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        path = request.path
        if request.headers.get("X-Vault-Request") != "true":
            return _errors(412, "missing X-Vault-Request header")  # as `require_request_header` on a listener does
        if self.sealed:
            return _errors(503, "Vault is sealed")
        if self.down:
            return _errors(self.down, "internal error")
        if self.redirect:
            return web.Response(status=307, headers={"Location": self.redirect + path})
        namespace = request.headers.get("X-Vault-Namespace", "").strip("/")
        if namespace not in self.namespaces or not path.startswith("/v1/"):
            return _errors(404, "no handler for route")
        parts = path.removeprefix("/v1/").split("/")
        if parts[0] == "auth" and parts[-1] == "login":
            return await self._login("/".join(parts[1:-1]), request)
        return self._read(namespace, parts, request)

    async def _login(self, mount: str, request: web.Request) -> web.Response:
        if request.method not in ("POST", "PUT"):
            return _errors(405, "unsupported operation")
        try:
            body = json.loads(await request.text())
        except ValueError:
            return _errors(400, "failed to parse JSON input")
        self.logins.append((mount, body))
        wanted = {
            "approle": {"role_id": ROLE_ID, "secret_id": SECRET_ID},
            "kubernetes": {"role": "automata", "jwt": JWT},
        }.get(mount.partition("-")[0])
        if wanted is None:
            return _errors(404, "no handler for route")
        if body != wanted:
            return _errors(400 if mount.startswith("approle") else 403, "invalid role or secret ID")
        token = "hvs." + secrets.token_urlsafe(24)
        self.tokens[token] = None
        auth = {"client_token": token, "lease_duration": self.lease, "renewable": True, "policies": ["automata"]}
        return web.json_response({"request_id": "r", "lease_id": "", "data": None, "auth": auth})

    def _read(self, namespace: str, parts: list[str], request: web.Request) -> web.Response:
        token = request.headers.get("X-Vault-Token", "")
        if token not in self.tokens:
            return _errors(403, "permission denied")
        if request.method != "GET":
            return _errors(405, "unsupported operation")
        mount, data, path = parts[0], parts[1] if len(parts) > 1 else "", "/".join(parts[2:])
        allowed = self.tokens[token]
        if data != "data" or (allowed is not None and path not in allowed):
            return _errors(403, "permission denied")
        self.reads += 1
        if (namespace, mount, path) not in self.documents:
            return web.json_response({"errors": []}, status=404)
        fields = self.documents[namespace, mount, path]
        metadata = {"created_time": "2026-01-01T00:00:00Z", "version": 3, "destroyed": False, "deletion_time": ""}
        if fields is None:  # the newest version was deleted: 404 with its metadata
            gone = metadata | {"deletion_time": "2026-01-02T00:00:00Z"}
            return web.json_response({"data": {"data": None, "metadata": gone}}, status=404)
        return web.json_response(
            {"request_id": "r", "lease_duration": 0, "data": {"data": fields, "metadata": metadata}, "auth": None}
        )


def _errors(status: int, *texts: str) -> web.Response:
    return web.json_response({"errors": list(texts)}, status=status)
