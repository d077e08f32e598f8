"""`automata webhook`: sign deliveries, and send them, as other systems do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output
from automata.cli.output import Format, say, say_json
from automata.errors import Usage

app = typer.Typer(no_args_is_help=True, help="Sign and send deliveries that start runs.")

Secret = Annotated[
    str,
    typer.Option(
        "--secret",
        metavar="NAME",
        help="The secret's name, as the flow has it; its value is read from AUTOMATA_SECRET_NAME "
        "or a file in AUTOMATA_SECRETS_DIR.",
        show_default=False,
    ),
]
Body = Annotated[
    str | None,
    typer.Option("--body", "-b", metavar="FILE", help="The body, byte by byte; - reads stdin.", show_default="none"),
]
Delivery = Annotated[
    str | None,
    typer.Option("--delivery", metavar="ID", help="Names the event: the same one starts one run.", show_default="new"),
]


@app.command(epilog="Example: automata webhook sign ship-order shop --secret SHOP_HOOK --body order.json > headers.txt")
def sign(
    secret: Secret,
    flow: Annotated[str | None, typer.Argument(help="The flow's name.", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[WEBHOOK]", help="The webhook's name.", show_default=False)
    ] = None,
    body: Body = None,
    delivery: Delivery = None,
    output: Output = Format.TABLE,
) -> None:
    """Print the headers of a delivery, one a line as `curl -H @FILE` reads them. They hold for five minutes.

    Without the names of flow and webhook it is signed as it was before: any webhook whose secret is its own takes that.
    """
    if flow is not None and name is None:
        raise Usage("the name of the webhook is missing", hint="automata webhook sign FLOW WEBHOOK --secret NAME")
    headers = _signed(secret, _read(body), delivery, f"{flow}/{name}" if flow is not None else "")
    if output is Format.JSON:
        say_json(headers)
    else:
        for name, value in headers.items():
            say(f"{name}: {value}")


@app.command(epilog="Example: automata webhook send ship-order shop --secret SHOP_HOOK --body order.json")
def send(
    flow: Annotated[str, typer.Argument(help="The flow's name.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's name.", show_default=False)],
    secret: Secret,
    body: Body = None,
    delivery: Delivery = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", metavar="NAME=VALUE", help="A part of the address.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header more.")
    ] = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Sign a JSON body and send it: a run starts, or the one that this delivery started before is named.

    Exits 5 when the signature is refused, or there is no such webhook: the answer does not tell which.
    """
    content = _read(body)
    headers = {**_pairs(header or [], ":", "--header"), "Content-Type": "application/json"}
    signed = _signed(secret, content, delivery, f"{flow}/{name}")
    with Api(api_url) as api:
        run, created = api.deliver(
            "hooks", flow, name, content=content, headers=headers | signed, query=_pairs(query or [], "=", "--query")
        )
    _tell(run, created, list(signed.values())[1], output)


def _tell(run: dict[str, Any], created: bool, delivery: str, output: Format) -> None:
    if output is Format.JSON:
        say_json({**run, "created": created, "delivery": delivery})
    elif created:
        say(f"Delivery {delivery} started run {run['id']}.")
    else:
        say(f"Delivery {delivery} had started run {run['id']} before.")


def _signed(name: str, body: bytes, delivery: str | None, address: str) -> dict[str, str]:
    """The headers: timestamp, delivery, signature. Raises Usage."""
    from automata.flow.webhook import DELIVERY, MAX_DELIVERY, SIGNATURE, TIMESTAMP, is_delivery, signature

    delivery = str(uuid4()) if delivery is None else delivery
    if not is_delivery(delivery):
        raise Usage(f"--delivery must be 1 to {MAX_DELIVERY} visible ASCII characters without a dot")
    stamp = str(int(time.time()))
    signed = signature(_secret(name), stamp, delivery, body, address)
    return {TIMESTAMP: stamp, DELIVERY: delivery, SIGNATURE: signed}


def _secret(name: str) -> str:
    """Of two the last, which is the new one. Raises Usage."""
    from automata.flow.webhook import secrets_in, unfit
    from automata.steps.secrets import FOLDER, PREFIX, load_secrets

    values = secrets_in(load_secrets(os.environ).get(name, ""))
    if why := unfit(values):
        raise Usage(f"the secret {name} {why}", hint=f"Set {PREFIX}{name}, or put it into a file in {FOLDER}.")
    return values[-1]


def _read(file: str | None) -> bytes:
    if file is None:
        return b""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Usage(f"{file} cannot be read: {error.strerror}") from error


def _pairs(pairs: Sequence[str], sign: str, option: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, parted, value = pair.partition(sign)
        if not name.strip() or not parted or not pair.isprintable() or not pair.isascii():
            raise Usage(f"{option} {pair!r} is not of the form name{sign}value, in ASCII")
        values[name.strip()] = value.strip()
    return values
