"""What the API itself refuses before any other room is asked. The class decides the HTTP status."""

from __future__ import annotations

from dataclasses import dataclass

from automata.errors import Invalid, Refused


@dataclass(eq=False)
class Malformed(Invalid):
    """The bytes are not what they claim to be."""

    code: str = "malformed_json"
    status = 400


@dataclass(eq=False)
class BadBody(Invalid):
    """The body is JSON, and not what the route takes."""

    code: str = "invalid_request"


@dataclass(eq=False)
class WrongMedia(Invalid):
    """The body is of a media type that the route does not take."""

    code: str = "unsupported_media_type"
    status = 415


@dataclass(eq=False)
class TooLarge(Invalid):
    """The body has more bytes than the route takes."""

    code: str = "body_too_large"
    status = 413


@dataclass(eq=False)
class SlowBody(Invalid):
    """The body did not arrive in time."""

    code: str = "body_timeout"
    status = 408


@dataclass(eq=False)
class TooLong(Invalid):
    """The address is longer than any that this API hands out."""

    code: str = "uri_too_long"
    status = 414


@dataclass(eq=False)
class Misdirected(Refused):
    """Asked under a name that is not ours: DNS rebinding, or a proxy that is not set up."""

    code: str = "wrong_host"
    status = 403


@dataclass(eq=False)
class PassedOn(Refused):
    """A proxy passed on what is for this machine alone."""

    code: str = "behind_a_proxy"
    status = 403


@dataclass(eq=False)
class CrossSite(Refused):
    """A page of another site asks for a change."""

    code: str = "cross_site"
    status = 403


@dataclass(eq=False)
class HeadersTooLarge(Invalid):
    """The headers have more bytes than this server takes."""

    code: str = "headers_too_large"
    status = 431


@dataclass(eq=False)
class Unsigned(Refused):
    """Nothing shows that this comes from somebody who may send it."""

    code: str = "bad_signature"
    status = 401


@dataclass(eq=False)
class Forbidden(Refused):
    """Known, and not allowed."""

    code: str = "forbidden"
    status = 403


@dataclass(eq=False)
class Unauthenticated(Refused):
    """Nobody is known to ask. `challenge` is the WWW-Authenticate header."""

    code: str = "unauthenticated"
    challenge: str = 'Bearer realm="automata"'
    status = 401
