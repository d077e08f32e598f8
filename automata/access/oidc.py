"""What is set for people that an OpenID Connect provider knows, and which of them may do what.

Failure argument. Nobody is let in because something is missing: a claim that is not there, is no text, or names no
value of the mapping is no role. A person is the provider's address and its `sub`, which nobody chooses; a name or a
mail that people may change themselves says nothing. Reviewers are told from authors by their mail
(git.branches.Person), so whoever may approve needs one that the provider vouches for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from automata.access.exposure import authenticates, is_loopback
from automata.access.principal import Principal, Role
from automata.access.sessions import NOBODYS, SESSION_TTL
from automata.errors import Refused, Usage
from automata.settings import Settings
from automata.steps.urls import redacted

CALLBACK = "/sign-in/oidc/callback"
MIN_SESSION_MIN, MAX_SESSION_MIN = 5, int(SESSION_TTL.total_seconds()) // 60
MAX_VALUES = 1_000  # of the claim; providers that know of more groups send none at all
MAX_NAME_CHARS = 160  # of a person; Git takes 200
SHOWN_VALUES = 20
_SUB = re.compile(r"[A-Za-z0-9._|@:/+=-]+")
_MAIL = re.compile(r"[!#-;=?-~]{1,190}")  # printable ASCII without `"`, `<` and `>`: no letter that looks like another
_SHOWN_NAME = re.compile(r"[^\x00-\x1f\x7f<>]{1,60}")


@dataclass(eq=False)
class AccessDenied(Refused):
    """The provider's word is not enough, or not there."""

    code: str = "not_let_in"
    status = 403


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """Made by `config_of`. `is_local`: the provider runs on this machine, where there is no https."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    roles: Mapping[str, Role]
    claim: str
    name: str
    redirect_uri: str
    ttl: timedelta
    is_local: bool = False

    @property
    def config_digest(self) -> bytes:
        """What its sessions rest on: whoever changes who may do what ends them."""
        roles = sorted((value, role.word) for value, role in self.roles.items())
        return hashlib.sha256(json.dumps([self.issuer, self.client_id, self.claim, roles]).encode()).digest()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the provider vouches for. `mail` is empty where it does not vouch for that."""

    name: str
    mail: str
    values: tuple[str, ...]


def config_of(settings: Settings) -> ProviderConfig | None:
    """None where nothing is set. Raises Usage for half of it, and for what would not be safe."""
    needed = ("oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_roles")
    missing = [name for name in needed if not getattr(settings, name)]
    if len(missing) == len(needed):
        return None
    if missing:
        raise _wrong(
            missing[0], "is not set, but other settings of the provider are", f"All of {_all(needed)} belong together."
        )
    issuer = _address("oidc_issuer", settings.oidc_issuer)
    public = _address("public_url", settings.public_url, "Browsers come back to it from the provider.")
    if not authenticates(settings):
        raise _wrong("oidc_issuer", "is set, but nobody has to say who they are", "Set AUTOMATA_AUTH=on.")
    if not MIN_SESSION_MIN <= settings.oidc_session_min <= MAX_SESSION_MIN:
        raise _wrong("oidc_session_min", f"is not {MIN_SESSION_MIN} to {MAX_SESSION_MIN}")
    if not _SHOWN_NAME.fullmatch(settings.oidc_name):
        raise _wrong("oidc_name", "is not 1 to 60 characters that a button can show")
    if not settings.oidc_claim:
        raise _wrong("oidc_claim", "is empty")
    return ProviderConfig(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        roles=_roles(settings.oidc_roles),
        claim=settings.oidc_claim,
        name=settings.oidc_name,
        redirect_uri=f"{public.scheme}://{public.netloc}{CALLBACK}",
        ttl=timedelta(minutes=settings.oidc_session_min),
        is_local=issuer.scheme == "http",
    )


def person_of(config: ProviderConfig, claims: Mapping[str, Any]) -> Person:
    """Whom a verified ID token is about."""
    mail = claims.get("email")
    vouched = _is_vouched(claims) and isinstance(mail, str) and _MAIL.fullmatch(mail) and mail.count("@") == 1
    # People may change an address that nobody has checked, and would choose their own role with it.
    values = () if config.claim == "email" and not vouched else _values(claims.get(config.claim))
    return Person(_name(config.issuer, str(claims["sub"])), str(mail) if vouched else "", values)


def principal_of(config: ProviderConfig, person: Person) -> Principal:
    """What they may do: the highest role of their values. Raises AccessDenied."""
    roles = [config.roles[value] for value in person.values if value in config.roles]
    if not roles:
        raise AccessDenied(
            f"{config.name} knows you as {person.mail or person.name}, and nothing there lets you in here.",
            code="no_role",
            hint=f"Ask whoever runs Automata for a role. What counts is {config.claim!r} of what the provider says.",
        )
    role = max(roles)
    if role >= Role.REVIEWER and not person.mail:
        raise AccessDenied(
            f"You would be a {role.word}, and {config.name} does not say that your mail address is verified.",
            code="mail_not_verified",
            hint="Without it nobody could tell you from the author of a change. Have your address verified there.",
        )
    # `.invalid` is nobody's: what stands for a missing address is the address of no author.
    mail = person.mail or f"{hashlib.sha256(person.name.encode()).hexdigest()[:16]}{NOBODYS}"
    return Principal(person.name, mail, role)


def _name(issuer: str, sub: str) -> str:
    """`oidc:HOST/PATH:SUB`. No token's name has a colon, so this is nobody else's."""
    address = issuer.partition("://")[2].rstrip("/")
    plain = f"oidc:{address}:{sub}"
    if _SUB.fullmatch(sub) and len(plain) <= MAX_NAME_CHARS:
        return plain
    # A `~` is in no plain name, so that no `sub` can be chosen to look like another's digest.
    return f"oidc:{address[:60]}:~{hashlib.sha256(f'{issuer} {sub}'.encode()).hexdigest()}"


def _is_vouched(claims: Mapping[str, Any]) -> bool:
    """`email_verified`, as text where a provider writes it so; `xms_edov` is how Entra says it."""
    return claims.get("email_verified") in (True, "true") or claims.get("xms_edov") in (True, 1, "1", "true")


def _values(claim: Any) -> tuple[str, ...]:
    if isinstance(claim, str):
        return (claim,)
    if not isinstance(claim, list):
        return ()
    return tuple(value for value in claim[:MAX_VALUES] if isinstance(value, str))


def _roles(mappings: tuple[str, ...]) -> Mapping[str, Role]:
    roles: dict[str, Role] = {}
    for text in mappings:
        value, equals, word = text.rpartition("=")  # a value may be a name of a directory: CN=ops,DC=example
        if not equals or not value.strip():
            raise _wrong("oidc_roles", f"has {text[:80]!r}, which is no VALUE=role")
        try:
            role = Role.read(word)
        except Usage as error:
            raise _wrong("oidc_roles", f"has {text[:80]!r}: {error.message}") from None
        if roles.setdefault(value.strip(), role) is not role:
            raise _wrong("oidc_roles", f"gives {value.strip()[:80]!r} two roles")
    return roles


def _address(name: str, text: str, why: str = "") -> SplitResult:
    """An address of https, or of http on this machine. Raises Usage."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise _wrong(name, f"is no address: {redacted(text)!r}", why) from None
    if not text:
        raise _wrong(name, "is not set", why)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise _wrong(name, f"is not https: {redacted(text)!r}", "Only on loopback may it be http.")
    if not host or url.query or url.fragment or "@" in url.netloc or not (text.isascii() and text.isprintable()):
        raise _wrong(name, f"is not an address alone: {redacted(text)!r}", "Write https://HOST/PATH.")
    return url


def _all(names: tuple[str, ...]) -> str:
    return ", ".join(f"AUTOMATA_{name.upper()}" for name in names)


def _wrong(name: str, what: str, hint: str | None = None) -> Usage:
    return Usage(f"AUTOMATA_{name.upper()} {what}.", code="bad_setting", hint=hint or None)
