"""The secrets that deliveries are signed with. What is wrong with one is told to the log, once, and to nobody else."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from automata.caching import StaleWhileRevalidate
from automata.errors import Unavailable
from automata.flow.webhook import secrets_in, unfit
from automata.steps.secrets import FOLDER, PREFIX
from automata.store.database import Database
from automata.store.inbound_webhooks import SignedWebhook, signed_webhooks

log = logging.getLogger(__name__)


FRESH_SEC, STALE_SEC = 1.0, 3.0


class SignedWebhooks:
    """All webhooks, to tell whose secret is another's too; a few seconds old at most."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._webhooks = StaleWhileRevalidate(self._read, FRESH_SEC, STALE_SEC)

    async def share_a_secret(self, secrets: WebhookSecrets, flow: str, name: str) -> bool:
        """Whether another webhook takes what this one's secret has signed: by its name, or by its value.

        So it is for a webhook that is not known yet: what is unknown is not good.
        """
        webhooks = await self._webhooks.get()
        others = {webhook.secret for webhook in webhooks if (webhook.flow, webhook.name) != (flow, name)}
        own = {webhook.secret for webhook in webhooks if (webhook.flow, webhook.name) == (flow, name)}
        values = {value for secret in own for value in secrets.known(secret)}
        by_value = any(not values.isdisjoint(secrets.known(secret)) for secret in others)
        return by_value or not own or bool(own & others)

    async def _read(self) -> list[SignedWebhook]:
        async with self._db.connection() as conn:
            return await signed_webhooks(conn)


class WebhookSecrets:
    """The secrets of webhooks by name, as they are now."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets  # a file of it may change at any time
        self._told: set[str] = set()

    def secrets(self, name: str) -> list[str]:
        """At most MAX_SECRETS, empty when none may be used: a missing secret must not be an empty one."""
        try:
            values = secrets_in(self._secrets.get(name, ""))
        except Unavailable as error:
            self._tell(name, f"cannot be read ({error.message})")
            return []
        if why := unfit(values):
            self._tell(name, why)
            return []
        return values

    def known(self, name: str) -> list[str]:
        """What is in a secret, fit or not; nothing is said of what is wrong with it."""
        try:
            return secrets_in(self._secrets.get(name, ""))
        except Unavailable:
            return []

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:  # names come from flows, so there are not more than those
            self._told.add(name)
            log.error(
                "the secret %s of a webhook %s; for the API set %s%s or its file in %s", name, why, PREFIX, name, FOLDER
            )
