"""The secrets that deliveries are signed with. What is wrong with one is told to the log, once, and to nobody else."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from automata.errors import Unavailable
from automata.flow.webhook import secrets_in, unfit
from automata.steps.secrets import FOLDER, PREFIX

log = logging.getLogger(__name__)


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

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:  # names come from flows, so there are not more than those
            self._told.add(name)
            log.error(
                "the secret %s of a webhook %s; for the API set %s%s or its file in %s", name, why, PREFIX, name, FOLDER
            )
