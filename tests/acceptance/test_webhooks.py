"""Webhooks on a server that really runs: sent by the CLI, and signed by whoever follows docs/webhooks.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.acceptance.conftest import SHOP_HOOK, Automata, Place

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")
SEND = ("webhook", "send", "ship-order", "shop", "--secret", "SHOP_HOOK")


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATA_SECRET_SHOP_HOOK", SHOP_HOOK)


@pytest.fixture
def body(tmp_path: Path) -> str:
    file = tmp_path / "order.json"
    file.write_text('{"order": {"id": "o-1001"}}')
    return str(file)


def test_what_is_sent_starts_a_run_that_succeeds_and_says_where_it_came_from(automata: Automata, body: str) -> None:
    sent = automata(*SEND, "--body", body, "-o", "json")
    assert (sent.code, sent.json["created"]) == (0, True)
    run = sent.json["id"]
    assert automata("run", "watch", run).code == 0
    shown = automata("run", "show", run).out
    assert re.search(r"^trigger\s+webhook *$", shown, re.MULTILINE)
    assert re.search(r"^created by\s+webhook shop *$", shown, re.MULTILINE)
    listed = automata("run", "list", "--trigger", "webhook", "-o", "json").json["items"]
    assert run in [one["id"] for one in listed]
    assert automata("run", "show", run, "-o", "json").json["inputs"] == {"order": "o-1001", "express": False}


def test_what_is_sent_twice_names_the_first_run(automata: Automata, body: str) -> None:
    first, again = (automata(*SEND, "--body", body, "--delivery", "twice") for _ in range(2))
    assert (first.code, again.code) == (0, 0)
    run = re.search(r"^Delivery twice started run (\S+)\.$", first.out)
    assert run
    assert again.out == f"Delivery twice had started run {run[1]} before.\n"


def test_a_refused_signature_is_a_guard_s_and_does_not_say_which_webhooks_there_are(
    automata: Automata, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = automata("webhook", "send", "ship-order", "none", "--secret", "SHOP_HOOK", "--body", body)
    monkeypatch.setenv("AUTOMATA_SECRET_SHOP_HOOK", SHOP_HOOK[::-1])
    wrong = automata(*SEND, "--body", body)
    assert (wrong.code, nowhere.code) == (5, 5)
    assert wrong.err == nowhere.err
    assert "[bad_signature]" in wrong.err


def test_inputs_that_do_not_fit_are_named_to_who_has_signed(automata: Automata, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"order": {"id": "../1"}}')
    sent = automata(*SEND, "--body", str(file))
    assert sent.code == 1
    assert "the input `order` does not match" in sent.err
    file.write_text("not json")
    assert automata(*SEND, "--body", str(file)).code == 3


def test_headers_and_query_are_sent_and_cannot_replace_what_is_signed(automata: Automata, body: str) -> None:
    more = ("-H", "X-Event: paid", "-H", "X-Automata-Signature: none", "-q", "lang=de")
    assert automata(*SEND, "--body", body, *more).code == 0
    assert automata(*SEND, "--body", body, "-H", "X-Event").code == 3


def test_an_api_that_is_not_there_is_infrastructure(automata: Automata, body: str) -> None:
    assert automata(*SEND, "--body", body, "--api-url", "http://127.0.0.1:9").code == 4


def test_a_flow_shows_its_webhooks_with_their_addresses(automata: Automata) -> None:
    shown = automata("flow", "show", "ship-order").out
    assert re.search(r"^shop\s+/api/v1/hooks/ship-order/shop\s+SHOP_HOOK", shown, re.MULTILINE)


@pytest.mark.parametrize("language", ["sh", "python"])
def test_who_signs_as_the_page_says_starts_a_run(
    automata: Automata, place: Place, tmp_path: Path, language: str
) -> None:
    blocks = re.findall(rf"^```{language}\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks
    warm.program(tmp_path)
    env = os.environ | {
        "AUTOMATA_API_URL": place.api,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    shell = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    for block in blocks:
        done = subprocess.run(
            [*shell, block], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
    listed = automata("run", "list", "--trigger", "webhook", "-o", "json").json["items"]
    keys = {automata("run", "show", one["id"], "-o", "json").json["idempotency_key"] for one in listed}
    deliveries = {"sh": {"order-1001-paid", "order-1003-paid"}, "python": {"order-1002-paid"}}[language]
    assert {f"hook:shop:{one}" for one in deliveries} <= keys


def test_the_example_of_the_page_is_that_of_the_example_repository() -> None:
    flow = (ROOT / "flows-example/flows/ship-order.yaml").read_text(encoding="utf-8")
    example = re.search(r"^```yaml\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE)
    assert example
    assert example[1] in flow


def test_the_limits_of_the_page_are_those_of_the_program() -> None:
    from automata.api.webhooks import MAX_FIELDS
    from automata.flow.webhook import MAX_DELIVERY, MIN_SECRET_BYTES
    from automata.http.bodies import MAX_DEPTH
    from automata.settings import Settings

    settings = Settings()
    assert settings.hook_body_bytes == 1024 * 1024
    for words in (
        f"at most {settings.hook_tolerance_sec:.0f} s from",
        f"1 to {MAX_DELIVERY} visible",
        f"{MIN_SECRET_BYTES} bytes or more",
        f"more than {MAX_DEPTH} deep",
        f"more than {MAX_FIELDS:,} fields",
    ):
        assert words in PAGE
