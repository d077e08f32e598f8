"""What takes deliveries from outside: the webhooks of flows, by the name of their flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from automata.flow.model import Webhook, webhooks_of


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """A flow's current version, and its webhooks by name."""

    flow_id: UUID
    version_id: UUID
    webhooks: Mapping[str, Webhook]


async def webhook_targets(conn: AsyncConnection[Any], flows: Collection[str]) -> dict[str, WebhookTarget]:
    """Those of the named flows that have a version and are not archived."""
    cursor = await conn.execute(
        "SELECT flows.name, flows.id, version.id, version.spec -> 'webhooks'"
        " FROM flows JOIN flow_versions AS version ON version.id = flows.current_version_id"
        " WHERE flows.name = ANY(%s) AND flows.archived_at IS NULL",
        [list(flows)],
    )
    rows = await cursor.fetchall()
    return {
        name: WebhookTarget(flow_id, version_id, {webhook.name: webhook for webhook in webhooks_of(listed)})
        for name, flow_id, version_id, listed in rows
    }
