"""What people are told when something needs one of them: who wants to hear it, the body, and its signature.

Signed as https://www.standardwebhooks.com says: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>`,
HMAC-SHA256 over `<id>.<timestamp>.<body>`. Pure but for the secrets, which are given.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from automata.errors import Usage
from automata.flow.exact_json import dumps
from automata.steps.contract import HttpRequest
from automata.steps.urls import parse_url

RUN_FAILED, DEAD_LETTER, APPROVAL, SYNC_BLOCKED = "run.failed", "dead_letter", "approval.waiting", "sync.blocked"
EVENTS: Final = (RUN_FAILED, DEAD_LETTER, APPROVAL, SYNC_BLOCKED)
TEST: Final = "test"
TEMPLATES: Final = ("standard", "slack")

SEND_SEC = 15.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_TEXT_CHARS = 1_000
MIN_SECRET_BYTES = 16

_SECRET_URL = re.compile(r"\{\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
_WORDS = {
    RUN_FAILED: ":x: *{flow}* failed",
    DEAD_LETTER: ":warning: *{flow}* gave up on `{step}`",
    APPROVAL: ":raised_hand: *{flow}* waits for an approval of `{step}`",
    SYNC_BLOCKED: ":no_entry: the sync of *{environment}* is blocked",
    TEST: ":wave: a test of the notification *{rule}*",
}


def check_rule(rule: Mapping[str, Any]) -> list[str]:
    """The secrets that a rule names. Raises Usage for one that could never be sent."""
    named = [rule["secret"]] if rule.get("secret") else []
    url = rule["url"]
    if match := _SECRET_URL.fullmatch(url):
        named.append(match[1])
    elif "{{" in url or "{%" in url:
        raise Usage("`url` is an address, or `{{ secrets.NAME }}` alone.")
    else:
        try:
            parse_url(url)
        except ValueError as error:
            raise Usage(f"`url`: {error}") from error
    if rule.get("template", "standard") == "standard" and not rule.get("secret"):
        raise Usage(
            "`secret` is missing: a receiver must be able to tell who sent it.",
            hint="Name the secret that both sides know; the template `slack` needs none.",
        )
    return named


def wants(rule: Mapping[str, Any], kind: str, flow: str | None, labels: Mapping[str, str]) -> bool:
    """Whether a rule is told of this; filters of flows leave out what is of no flow."""
    if kind not in rule["on"]:
        return False
    globs = rule.get("flows")
    if globs and not any(fnmatchcase(flow or "", glob) for glob in globs):
        return False
    labels_asked = rule.get("labels") or {}
    return all(labels.get(name) == value for name, value in labels_asked.items())


def secret_of_url(url: str) -> str | None:
    """The name of the secret that is the address, None for one that is written out."""
    match = _SECRET_URL.fullmatch(url)
    return match[1] if match else None


def body_of(template: str, payload: Mapping[str, Any]) -> bytes:
    """`payload` is {type, timestamp, data}; it is the body of `standard`, and what `slack` tells in words."""
    if template == "slack":
        return dumps({"text": _slack(payload)})
    return dumps(payload)


def request_of(url: str, body: bytes, id: str, timestamp: int, secret: str | None) -> HttpRequest:
    """The request, signed when there is a secret. Raises Usage for an address or a secret that cannot be used."""
    try:
        address = parse_url(url)
    except ValueError as error:
        raise Usage(f"The address cannot be called: {error}") from error
    headers = [("Content-Type", "application/json"), ("User-Agent", "automata-notify"), ("webhook-id", id)]
    headers.append(("webhook-timestamp", str(timestamp)))
    if secret is not None:
        headers.append(("webhook-signature", signature(secret, id, timestamp, body)))
    return HttpRequest(
        "POST",
        str(address.with_user(None).with_fragment(None)),
        tuple(headers),
        body,
        timeout_sec=SEND_SEC,
        max_bytes=MAX_ANSWER_BYTES,
        follow_redirects=False,
    )


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>`, one for each line of the secret while it is being changed. Raises Usage for one too short."""
    lines = [line.strip() for line in secret.splitlines() if line.strip()]
    keys = [_key(line) for line in lines]
    if not keys or any(len(key) < MIN_SECRET_BYTES for key in keys):
        raise Usage(f"The secret must have at least {MIN_SECRET_BYTES} bytes.")
    message = f"{id}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, message, "sha256")).decode() for key in keys)


def _key(line: str) -> bytes:
    if not line.startswith("whsec_"):
        return line.encode()
    try:
        return base64.b64decode(line.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise Usage("The secret begins with whsec_ and is not base64.") from None


def _slack(payload: Mapping[str, Any]) -> str:
    data = {name: _escaped(str(value)) for name, value in payload["data"].items() if value is not None}
    words = _WORDS.get(payload["type"], payload["type"])
    lines = [words.format_map(_Blank(data))]
    error = payload["data"].get("error") or {}
    texts = (error.get("message"), payload["data"].get("prompt"))
    lines += ["> " + _escaped(" ".join(str(text).split()))[:MAX_TEXT_CHARS] for text in texts if text]
    if run := data.get("run_id"):
        lines.append(f"run `{run}`, version {data.get('version', '?')}, {data.get('environment', '')}".rstrip(", "))
    return "\n".join(lines)


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _escaped(text: str) -> str:
    """Slack reads three characters as its own; a flow's name or a service's answer must not mention a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def rules_for(
    rules: Sequence[tuple[Any, Mapping[str, Any]]], kind: str, source: Any, flow: str | None, labels: Mapping[str, str]
) -> list[tuple[Any, Mapping[str, Any]]]:
    """Those of (source, rule) that are told: of the source itself, or of all sources for a flow that has none."""
    return [rule for rule in rules if (source is None or rule[0] == source) and wants(rule[1], kind, flow, labels)]
