"""Where a repository is: a path or a URL, parted from the credentials that someone may have written into it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from automata.errors import Usage
from automata.git.names import deceiving, shown

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)::?//|(?P<helper>[A-Za-z][A-Za-z0-9+.-]*)::")
_SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^\s]+)")
_USERINFO = re.compile(r"(?<=//)[^/\s]*@")
# For a URL that cannot be parsed: a raw slash in a password ends what the authority seems to be.
_UNPARSED = re.compile(r"(?<=//)\S*@")


# What these are refused for, but on loopback, where there is no way on which anybody could be.
_OPEN = {
    "http": "plain http can be read and changed on the way",
    "git": "git:// proves neither the server nor you, and can be changed on the way",
}


@dataclass(frozen=True, slots=True)
class Address:
    """`url` carries no password and no https user: it is what logs, messages and the database see.

    `local` is set for a repository that is read in place; everything else is mirrored, in the folder `mirror`.
    """

    url: str
    scheme: str
    local: Path | None = None
    host: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    mirror: Path | None = field(default=None, compare=False)


def parse_address(text: str) -> Address:
    """Read a path, `file://`, `https://`, `ssh://` or `user@host:path`; raises Usage (code `repository_url`)."""
    if not text.strip() or deceiving(text):
        raise _wrong(text, "a path or a URL is expected")
    match = _SCHEME.match(text)
    if match:
        return _parse_url(text, (match["scheme"] or match["helper"]).lower())
    scp = _SCP.fullmatch(text)
    try:
        if scp and len(scp["host"]) > 1 and not Path(text).exists():
            return Address(text.rstrip("/"), "ssh", host=scp["host"], username=scp["user"] or "")
        path = Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, the home of nobody, a null byte
        raise _wrong(text, "no path can be like this") from error
    return Address(str(path), "path", local=path)


def redact(text: str, address: Address) -> str:
    """`text` without the credentials of `address` and without any `user:password@` of a URL."""
    for secret in (address.password, unquote(address.password)):
        if secret:
            text = text.replace(secret, "***")
    return _USERINFO.sub("", text)


def _parse_url(text: str, scheme: str) -> Address:
    if scheme not in ("file", "https", "http", "ssh", "git"):
        raise _wrong(text, f"{scheme}: is not supported")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(text, "it cannot be read") from error
    if scheme == "file":
        return _file(text, parts.path, host)
    if not host or not parts.path.strip("/") or parts.query or parts.fragment:
        raise _wrong(text, "it must be scheme://host/path")
    if scheme in _OPEN and not _loopback(host):
        raise _wrong(text, f"{_OPEN[scheme]}; use https or ssh")
    if scheme == "git" and parts.username is not None:
        raise _wrong(text, "git:// takes no credentials")
    user = unquote(parts.username or "")
    shown_host = f"[{host}]" if ":" in host else host
    name = f"{user}@" if scheme == "ssh" and user else ""
    url = f"{scheme}://{name}{shown_host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    return Address(url, scheme, host=host, username=user, password=unquote(parts.password or ""))


def _file(text: str, path: str, host: str) -> Address:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise _wrong(text, "it must be file:///absolute/path")
    return Address(f"file://{path.rstrip('/')}", "file")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong(text: str, problem: str) -> Usage:
    return Usage(
        f"{shown(_UNPARSED.sub('', text))} is not a repository: {problem}.",
        code="repository_url",
        hint="Give a path, or a file://, https:// or ssh:// URL.",
    )
