"""The notifier: makes messages of events and sends them, in every worker, which has the secrets and the vetted way out.

Failure argument in store/notifications.py: nothing is lost with a notifier, and any number may run. Runs never wait for
it: it reads the events that their transactions wrote. A receiver that is away delays its own messages, up to about two
days, and no others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from automata.errors import AutomataError
from automata.flow.timefilters import iso
from automata.pausing import pause
from automata.settings import Settings
from automata.steps.contract import Transport, TransportError
from automata.steps.masking import cut_message, texts_in
from automata.steps.notification_message import APPROVAL, body_of, request_of, rules_for, secret_of_url
from automata.steps.secrets import Secrets
from automata.store import notifications as store
from automata.store.database import Database
from automata.store.ids import as_uuid
from automata.store.notifications import ClaimedNotification, NewNotification, NotificationEvent, NotificationRule
from automata.telemetry import NOTIFICATIONS

log = logging.getLogger(__name__)

MAX_DELIVERIES_AT_ONCE = 20
# Seconds after each failed attempt; as Standard Webhooks proposes. After the last one it is given up, and stays listed.
RETRY_PAUSES_SEC = (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 72_000)
SECRET_SEC = 30.0
GONE = 410  # the receiver says that it is closed for good
FORGET_SEC = 3_600.0


class Notifier:
    """One of any number; messages are shared out by their claims."""

    def __init__(self, db: Database, transport: Transport, secrets: Secrets, settings: Settings) -> None:
        self._db = db
        self._transport = transport
        self._secrets = secrets
        self._pause_sec = settings.poll_sec
        self._forget_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; an unreachable database is waited for."""
        while not stop.is_set():
            try:
                busy = await self.run_once()
                await self._forget()
            except AutomataError as error:
                log.warning("notifications: %s", error)
                busy = False
            if not busy:
                await pause(self._pause_sec, stop)

    async def run_once(self) -> bool:
        """Make messages of events, and send what is due; whether there was anything."""
        async with self._db.transaction() as conn:
            events = await store.take_events(conn)
            if events:
                rules = await store.list_rules(conn)
                await store.enqueue(conn, [message for event in events for message in self._messages(event, rules)])
        async with self._db.connection() as conn:
            claimed = await store.claim(conn, MAX_DELIVERIES_AT_ONCE)
        await asyncio.gather(*map(self._deliver, claimed))
        return bool(events or claimed)

    def _messages(self, event: NotificationEvent, rules: list[NotificationRule]) -> list[NewNotification]:
        facts = event.facts
        if not facts or (event.kind == APPROVAL and not facts.get("waits")):
            return []
        matching = _matching(event, rules)
        return [
            NewNotification(
                event=f"{event.kind}:{event.id}",
                source_id=source,
                rule=spec["name"],
                kind=event.kind,
                payload=self._payload(event),
                url=spec["url"],
                secret=spec.get("secret"),
                template=spec.get("template", "standard"),
            )
            for source, spec in matching
        ]

    def _payload(self, event: NotificationEvent) -> dict[str, Any]:
        facts = event.facts
        mask = self._secrets.mask_with(texts_in(facts.get("secret_values") or ()))
        error = facts.get("error") or {}
        data = {
            "environment": facts.get("environment"),
            "flow": facts.get("flow"),
            "version": facts.get("version"),
            "run_id": event.about.get("run"),
            "step": event.about.get("step") or error.get("step"),
            "dead_letter": event.about.get("letter"),
            "attempts": facts.get("attempts"),
            "prompt": facts.get("prompt") and cut_message(facts["prompt"], mask),
            "source": facts.get("source"),
            "sha": facts.get("sha"),
            "error": error and {"code": error.get("code"), "message": cut_message(str(error.get("message", "")), mask)},
        }
        return {
            "type": event.kind,
            "timestamp": iso(event.at),
            "data": {name: value for name, value in data.items() if value not in (None, {}, "")},
        }

    async def _deliver(self, message: ClaimedNotification) -> None:
        status, error, final = await self._send(message)
        over = final or message.attempts > len(RETRY_PAUSES_SEC)
        retry = None if over else RETRY_PAUSES_SEC[message.attempts - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if error is not None:
            error = cut_message(error, self._secrets.mask)
            log.warning("notification %s of %s: %s", message.id, message.rule, error)
        NOTIFICATIONS.labels("delivered" if error is None else "failed" if retry is None else "retried").inc()
        try:
            async with self._db.connection() as conn:
                await store.record_sending(conn, message, status=status, error=error, retry_sec=retry)
        except AutomataError as trouble:
            log.warning("notification %s is sent again, its end could not be written: %s", message.id, trouble)

    async def _send(self, message: ClaimedNotification) -> tuple[int | None, str | None, bool]:
        """(status, error, whether trying again is pointless)."""
        try:
            async with asyncio.timeout(SECRET_SEC):
                named = [name for name in (message.secret, secret_of_url(message.url)) if name]
                known = await self._secrets.read(named)
            if missing := [name for name in named if name not in known]:
                return None, f"the worker has no secret {missing[0]}", False
            url = known[name] if (name := secret_of_url(message.url)) else message.url
            body = body_of(message.template, message.payload)
            key = known[message.secret] if message.secret else None
            answer = await self._transport.send(
                request_of(url.strip(), body, f"msg_{message.id}", int(time.time()), key)
            )
        except TransportError as error:
            return None, error.message, False
        except TimeoutError:
            return None, "its secrets could not be read in time", False
        except AutomataError as error:
            return None, str(error), False
        if 200 <= answer.status < 300:
            return answer.status, None, False
        return answer.status, f"the receiver answered {answer.status}", answer.status == GONE

    async def _forget(self) -> None:
        if time.monotonic() < self._forget_at:
            return
        async with self._db.connection() as conn:
            more = await store.delete_old(conn) == store.FORGET_AT_ONCE
        self._forget_at = time.monotonic() + (1.0 if more else FORGET_SEC)


def _matching(event: NotificationEvent, rules: list[NotificationRule]) -> list[tuple[UUID, Mapping[str, Any]]]:
    """The rules that are told of the event, each once: for its flow, or for one above that a dead letter stands for."""
    known = [(rule.source_id, rule.spec) for rule in rules]
    matching: dict[tuple[UUID, str], tuple[UUID, Mapping[str, Any]]] = {}
    for flow in (event.facts, *(event.facts.get("above") or ())):
        source = as_uuid(flow.get("source_id") or "")
        for rule in rules_for(known, event.kind, source, flow.get("flow"), flow.get("labels") or {}):
            matching[rule[0], rule[1]["name"]] = rule
    return list(matching.values())
