"""Credentials of a fetch: from the environment or the URL, in memory only, for one host only."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import CredentialType

from automata.errors import Refused
from automata.git.address import Address
from automata.git.faults import denied

FETCH_SECONDS = 600
FETCH_BYTES = 2 * 1024**3


class Callbacks(pygit2.RemoteCallbacks):
    """Answers libgit2's questions during one fetch, and ends a fetch that takes too long or brings too much."""

    def __init__(self, address: Address, env: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._address = address
        self._env = os.environ if env is None else env
        self._tried: set[str] = set()
        self._deadline = time.monotonic() + FETCH_SECONDS

    def credentials(self, url: str, username_from_url: str | None, allowed_types: CredentialType) -> Any:
        """Each way is tried once: libgit2 asks again after a refusal, for ever if it is let."""
        if self._address.scheme in ("http", "https"):
            self._check_host(url)
            if allowed_types & CredentialType.USERPASS_PLAINTEXT:
                return self._password()
            raise denied(self._address, "it asks for a kind of credentials that is not supported")
        user = username_from_url or self._address.username or self._env.get("AUTOMATA_GIT_USERNAME") or "git"
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        return self._key(user)

    def transfer_progress(self, stats: Any) -> None:
        if time.monotonic() > self._deadline or stats.received_bytes > FETCH_BYTES:
            raise Refused(
                f"Fetching {self._address.url} was ended: over {FETCH_SECONDS} s or {FETCH_BYTES >> 20} MiB.",
                code="git_fetch_limit",
                hint="Keep flows in a repository of their own, or clone it with git and give --repo its folder.",
            )

    def _check_host(self, url: str) -> None:
        if _origin(url) != _origin(self._address.url):
            raise denied(self._address, "it redirects to another host, which is not given the credentials")

    def _password(self) -> Any:
        self._once("password", "the credentials were refused")
        password = self._address.password or self._env.get("AUTOMATA_GIT_TOKEN", "")
        user = self._address.username or self._env.get("AUTOMATA_GIT_USERNAME", "")
        if not password and not user:
            raise denied(self._address, "it asks for credentials and none are set")
        # Forges take any user name beside a token; some refuse an empty one.
        return pygit2.UserPass(user or "automata", password)

    def _key(self, user: str) -> Any:
        passphrase = self._env.get("AUTOMATA_GIT_SSH_PASSPHRASE", "")
        if key := self._env.get("AUTOMATA_GIT_SSH_KEY"):
            self._once("key", "the key was refused")
            if key.lstrip().startswith("-----BEGIN"):
                return pygit2.KeypairFromMemory(user, None, key, passphrase)
            return pygit2.Keypair(user, None, key, passphrase)
        if self._env.get("SSH_AUTH_SOCK"):
            self._once("agent", "no key of the ssh agent was accepted")
            return pygit2.KeypairFromAgent(user)
        raise denied(self._address, "it asks for an ssh key and none is set")

    def _once(self, way: str, reason: str) -> None:
        if way in self._tried:
            raise denied(self._address, reason)
        self._tried.add(way)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname, parts.port
