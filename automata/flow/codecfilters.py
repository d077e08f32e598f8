"""Filters that encode, hash and sign. Bytes that are no text cannot be a value, so none leaves a filter as such."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac as hmac_of
from collections.abc import Callable, Mapping
from typing import Any

from automata.flow.budget import Budget, misfit
from automata.flow.values import kind, text_of

# MD5 and SHA-1 are there because services ask for them; whoever may choose takes SHA-256.
ALGORITHMS = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


def hex_encode(budget: Budget, value: Any) -> str:
    """The UTF-8 bytes of a text as hex digits."""
    data = _bytes(budget, value)
    budget.make(2 * len(data))
    return data.hex()


def hex_decode(budget: Budget, value: Any) -> str:
    """The text of hex digits; bytes that are no UTF-8 are refused."""
    return _text(budget, "hex_decode", _decoded(budget, value, "hex"))


def b64url_encode(budget: Budget, value: Any, padding: bool = False) -> str:
    """Base64 with `-` and `_`, without `=` unless `padding=true`."""
    data = _bytes(budget, value)
    budget.make(len(data) // 3 * 4 + 4)
    return encoded(data, "base64url") + ("=" * (-len(data) % 3) if padding else "")


def b64url_decode(budget: Budget, value: Any) -> str:
    """The text of base64 with `-` and `_`, with or without `=`; bytes that are no UTF-8 are refused."""
    return _text(budget, "b64url_decode", _decoded(budget, value, "base64url"))


def digest(budget: Budget, value: Any, algorithm: str = "sha256", encoding: str = "hex") -> str:
    """The hash of a text as `hex`, `base64` or `base64url`."""
    data = _bytes(budget, value)
    budget.make(len(data) + 128)
    return encoded(hashlib.new(_algorithm(algorithm), data, usedforsecurity=False).digest(), encoding)


def hmac(
    budget: Budget, value: Any, key: Any, algorithm: str = "sha256", encoding: str = "hex", key_encoding: str = "text"
) -> str:
    """The HMAC of a text as `hex`, `base64` or `base64url`. `key_encoding` says what the key is written in."""
    data = _bytes(budget, value)
    secret = key_bytes(budget, key, key_encoding)
    budget.make(len(data) + len(secret) + 128)
    return encoded(hmac_of.new(secret, data, _algorithm(algorithm)).digest(), encoding)


def key_bytes(budget: Budget, key: Any, key_encoding: Any) -> bytes:
    """The bytes of a key that is written as `text`, `hex`, `base64` or `base64url`."""
    return _bytes(budget, key) if key_encoding == "text" else _decoded(budget, key, key_encoding)


def _bytes(budget: Budget, value: Any) -> bytes:
    if type(value) in (list, dict, tuple):
        raise misfit(f"Text is needed here, this is {kind(value)}.", "`| json` gives its text.")
    text = text_of(budget, value)
    budget.scan(len(text))
    return text.encode()


def _algorithm(name: Any) -> str:
    if type(name) is not str or name not in ALGORITHMS:
        raise misfit(f"`algorithm` is one of {', '.join(sorted(ALGORITHMS))}.")
    return name


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _to_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _of_base64(data: bytes) -> bytes:
    return base64.b64decode(data, validate=True)


def _of_base64url(data: bytes) -> bytes:
    if b"+" in data or b"/" in data:
        raise ValueError
    bare = data.rstrip(b"=")
    return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)


ENCODERS: Mapping[str, Callable[[bytes], str]] = {"base64": _to_base64, "base64url": _to_base64url, "hex": bytes.hex}
_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64": _of_base64,
    "base64url": _of_base64url,
    "hex": binascii.unhexlify,
}
KEY_ENCODINGS = frozenset({"text", *_DECODERS})


def encoded(data: bytes, encoding: Any) -> str:
    """Bytes as `hex`, `base64` or `base64url` (without `=`). Raises TemplateError for another encoding."""
    if type(encoding) is not str or encoding not in ENCODERS:
        raise misfit(f"`encoding` is one of {', '.join(sorted(ENCODERS))}.")
    return ENCODERS[encoding](data)


def _decoded(budget: Budget, value: Any, encoding: Any) -> bytes:
    if type(encoding) is not str or encoding not in _DECODERS:
        raise misfit(f"`key_encoding` is one of {', '.join(sorted(KEY_ENCODINGS))}.")
    data = _bytes(budget, value).strip()
    budget.make(len(data))
    try:
        return _DECODERS[encoding](data)
    except (binascii.Error, ValueError):
        raise misfit(f"This text is no {encoding}.") from None


def _text(budget: Budget, name: str, data: bytes) -> str:
    budget.make(len(data))
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise misfit(f"`{name}` needs the encoding of UTF-8 text; other bytes cannot be a value.") from None


CODEC_FILTERS: Mapping[str, Callable[..., Any]] = {
    "b64url_decode": b64url_decode,
    "b64url_encode": b64url_encode,
    "hash": digest,
    "hex_decode": hex_decode,
    "hex_encode": hex_encode,
    "hmac": hmac,
}
