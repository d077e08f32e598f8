"""The texts that let somebody in: tokens and the ids of sessions, 256 random bits each, kept only as their SHA-256.

A slow hash would protect nothing: nobody guesses 256 bits, and every request pays for it.
"""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "atm_"  # what scanners of leaked secrets, and people, know a token by
_TOKEN = re.compile(r"atm_[A-Za-z0-9_-]{43}")


def new_token_text() -> str:
    """A new token."""
    return PREFIX + secrets.token_urlsafe(32)


def is_token_text(text: str) -> bool:
    """Whether this can be a token at all; else the database need not be asked."""
    return _TOKEN.fullmatch(text) is not None


def digest(text: str) -> bytes:
    """SHA-256: what the database keeps of a secret text."""
    return hashlib.sha256(text.encode(errors="replace")).digest()
