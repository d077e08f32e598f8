"""Which broker a process has: RabbitMQ where it is configured, the local one where it is alone, else PostgreSQL."""

from __future__ import annotations

from automata.broker.contract import Broker
from automata.broker.local import LocalBroker
from automata.broker.postgres import PostgresBroker
from automata.settings import Settings
from automata.store.listen_notify import open_notify_connection


async def open_broker(settings: Settings, session_url: str, *, alone: bool) -> Broker:
    """The broker of this process; `alone` says that API, orchestrator and worker share this one event loop.

    `session_url` is that of the Database.

    Needs no server to be up: a broker connects in the background, and until then polls find the work. Raises Usage
    for an address that is not understood.
    """
    if settings.amqp_url:
        # Importing the client takes some 50 ms, which a process without RabbitMQ need not pay.
        from automata.broker.rabbitmq import RabbitBroker

        return RabbitBroker(settings.amqp_url)
    if alone:
        return LocalBroker()
    return PostgresBroker(lambda: open_notify_connection(session_url))
