"""Secrets in the worker: where they come from, and how no form of them gets out.

They are read from the environment (`AUTOMATA_SECRET_NAME`) and from a mounted folder (`AUTOMATA_SECRETS_DIR`, one
file a secret, as Kubernetes and Docker mount them); the environment wins.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from automata.errors import Usage
from automata.steps.masking import MASKED, Mask

PREFIX = "AUTOMATA_SECRET_"
FOLDER = "AUTOMATA_SECRETS_DIR"
MAX_BYTES = 64 * 1024
# Shorter values would blank out half of every text, and protect nothing that could not be guessed.
MIN_MASKED_CHARS = 4

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def load_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Name -> value. Raises Usage for a folder that cannot be read or a file over MAX_BYTES."""
    found = dict(_from_folder(Path(env[FOLDER]))) if env.get(FOLDER) else {}
    found |= {key.removeprefix(PREFIX): value for key, value in env.items() if key.startswith(PREFIX)}
    return {name: value for name, value in found.items() if _NAME.fullmatch(name)}


def masker(secrets: Mapping[str, str]) -> Mask:
    """A function that replaces every secret in a text, also as base64, URL-encoded and JSON-escaped."""
    forms = {form for value in secrets.values() for form in _forms(value) if len(form) >= MIN_MASKED_CHARS}
    if not forms:
        return lambda text: text
    # Longest first: a secret that contains another one is replaced whole.
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub(MASKED, text)


def _from_folder(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        for path in sorted(folder.iterdir()):
            if not path.is_file():  # mounts keep their versions in hidden folders
                continue
            if path.stat().st_size > MAX_BYTES:
                raise Usage(f"{FOLDER}: {path} is larger than {MAX_BYTES} bytes")
            yield path.name, path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{FOLDER}: {folder} cannot be read: {error}") from error


def _forms(value: str) -> Iterator[str]:
    if len(value) < MIN_MASKED_CHARS:
        return
    yield value
    yield quote(value)
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    raw = value.encode(errors="surrogateescape")
    for shift in range(3):
        # Inside a longer base64 text a value starts at one of three alignments; the characters at both ends also
        # carry bits of the neighbours, so only those between are the secret's own.
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        own = encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        if len(own) >= MIN_MASKED_CHARS:
            yield own
            yield own.replace("+", "-").replace("/", "_")
