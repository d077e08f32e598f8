"""Hints of forges that a branch moved: who signed one, and which sources it is about. Pure.

Failure argument. A hint is believed no further than that somebody may look: the controller reads the branch itself,
so a forged, old or lost one costs a look or a poll. Three schemes are understood. Ours signs a timestamp; GitHub's
signs only the body, so what it was sent with before is known by its signature too; GitLab sends the secret itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from automata.errors import AutomataError
from automata.flow.webhook import DELIVERY, SIGNATURE, TIMESTAMP, is_delivery, matches
from automata.git.address import parse_address

HUB_SIGNATURE, HUB_DELIVERY, HUB_EVENT = "X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event"
LAB_TOKEN, LAB_EVENT = "X-Gitlab-Token", "X-Gitlab-Event"
LAB_DELIVERIES = ("Idempotency-Key", "X-Gitlab-Event-UUID")
_PUSHES = {HUB_EVENT: "push", LAB_EVENT: "Push Hook"}
_HEADS = "refs/heads/"
_URLS = ("clone_url", "ssh_url", "git_url", "html_url", "git_http_url", "git_ssh_url", "web_url", "homepage", "url")
_MAX_URL_CHARS = 2_048

Scheme = Literal["automata", "github", "gitlab"]
Header = Callable[[str], str | None]  # the value of a header that is there once


class FollowedBranch(Protocol):
    """What a hint is compared with."""

    @property
    def url(self) -> str: ...
    @property
    def branch(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Signed:
    """A delivery by somebody who has the secret. `keys` tell it from every other one."""

    scheme: Scheme
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Push:
    """A branch that moved, and the addresses that its repository has."""

    branch: str
    urls: Collection[str]


def verify(header: Header, body: bytes, secrets: Sequence[str], now: float, tolerance_sec: float) -> Signed | None:
    """Who sent this; None for what is not signed by one of `secrets`, or too far from `now` (seconds since 1970)."""
    schemes = [scheme for name, scheme in _SCHEMES.items() if header(name) is not None]
    if len(schemes) != 1:
        return None
    return schemes[0](header, body, secrets, now, tolerance_sec)


def read_push(header: Header, payload: Any) -> Push | None:
    """The push that a payload tells of; None for other events, tags, and what has another form."""
    if any((event := header(name)) is not None and event != push_event for name, push_event in _PUSHES.items()):
        return None
    if not isinstance(payload, Mapping):
        return None
    ref = payload.get("ref")
    if not isinstance(ref, str) or not ref.startswith(_HEADS):
        return None
    urls = {url for part in ("repository", "project") for url in _urls(payload.get(part))}
    return Push(ref.removeprefix(_HEADS), urls) if urls else None


def sources_following(push: Push, sources: Sequence[FollowedBranch]) -> list[int]:
    """The places in `sources` of those that follow the branch that moved."""
    places = {_place(url) for url in push.urls} - {None}
    return [
        index for index, source in enumerate(sources) if source.branch == push.branch and _place(source.url) in places
    ]


def _ours(header: Header, body: bytes, secrets: Sequence[str], now: float, tolerance_sec: float) -> Signed | None:
    timestamp, delivery, signature = header(TIMESTAMP) or "", header(DELIVERY) or "", header(SIGNATURE) or ""
    fits = matches(secrets, signature, timestamp, delivery, body)
    timely = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if not fits or not timely or not is_delivery(delivery) or abs(now - int(timestamp)) > tolerance_sec:
        return None
    return Signed("automata", _keys("automata", delivery))


def _github(header: Header, body: bytes, secrets: Sequence[str], *_: float) -> Signed | None:
    signature = (header(HUB_SIGNATURE) or "").encode(errors="replace")
    expected = ["sha256=" + hmac.new(_bytes(secret), body, hashlib.sha256).hexdigest() for secret in secrets]
    fits = [hmac.compare_digest(text.encode(), signature) for text in expected]  # all of them, before any is looked at
    if not any(fits):
        return None
    # The delivery's id is not signed: whoever recorded one could make up another.
    return Signed("github", _keys("github", header(HUB_DELIVERY), signature.decode(errors="replace")))


def _gitlab(header: Header, body: bytes, secrets: Sequence[str], *_: float) -> Signed | None:
    # Digests, because a comparison of unequal lengths tells the length.
    digest = hashlib.sha256(_bytes(header(LAB_TOKEN) or "")).digest()
    fits = [hmac.compare_digest(hashlib.sha256(_bytes(secret)).digest(), digest) for secret in secrets]
    if not any(fits):
        return None
    delivery = next((value for name in LAB_DELIVERIES if (value := header(name))), None)
    return Signed("gitlab", _keys("gitlab", delivery or hashlib.sha256(body).hexdigest()))


_SCHEMES: Mapping[str, Callable[[Header, bytes, Sequence[str], float, float], Signed | None]] = {
    SIGNATURE: _ours,
    HUB_SIGNATURE: _github,
    LAB_TOKEN: _gitlab,
}


def _keys(scheme: str, *values: str | None) -> frozenset[str]:
    """Of one length whatever was sent."""
    return frozenset(f"{scheme} {hashlib.sha256(_bytes(value)).hexdigest()}" for value in values if value is not None)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _urls(part: Any) -> list[str]:
    urls = [part] if isinstance(part, str) else [part.get(name) for name in _URLS] if isinstance(part, Mapping) else []
    return [url for url in urls if isinstance(url, str) and 0 < len(url) <= _MAX_URL_CHARS]


def _place(url: str) -> tuple[str, str] | None:
    """Host and path, alike for every way to write one repository's address; None for what is no address."""
    try:
        address = parse_address(url)
    except AutomataError:
        return None
    if address.local is not None:
        return "", str(address.local)
    path = urlsplit(address.url).path if "://" in address.url else address.url.partition(":")[2]
    if not address.host:
        return "", path
    return address.host.lower(), path.strip("/").removesuffix(".git").casefold()
