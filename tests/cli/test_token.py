"""`automata token` and `automata audit` from outside, and a server that asks for a token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from automata.cli import client
from automata.cli.client import Api
from automata.errors import Usage
from tests import warm


def automata(database_url, *arguments, **environment):
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    env |= {"AUTOMATA_DATABASE_URL": database_url, **environment}
    return warm.run(["automata", *arguments], env=env)


def test_a_server_that_asks_shows_the_first_token_once_and_takes_those_that_the_command_made(database_url):
    automata(database_url, "token", "revoke", "ci")
    # Another test may have made tokens here before: there is a first one only where there never was any.
    subprocess.run(
        [sys.executable, "-c", "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute("
         "'TRUNCATE access_sessions, access_tokens')", database_url],
        check=True,
    )  # fmt: skip
    env = os.environ | {"AUTOMATA_DATABASE_URL": database_url, "AUTOMATA_AUTH": "on"}
    server = warm.Process(
        ["automata", "api", "--port", "0", "-o", "json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        events = [json.loads(stream.readline()) for stream in (server.stdout, server.stderr)]
        assert [event["event"] for event in events] == ["ready", "admin token"]
        url, admin = {"AUTOMATA_API_URL": events[0]["url"]}, events[1]["token"]

        refused = automata(database_url, "run", "list", **url)
        assert (refused.returncode, "AUTOMATA_TOKEN" in refused.stderr) == (5, True)
        made = automata(database_url, "token", "create", "ci", "--role", "operator", "-o", "json")
        ci = json.loads(made.stdout)["token"]
        assert automata(database_url, "run", "list", **url, AUTOMATA_TOKEN=ci).returncode == 0
        assert automata(database_url, "--token", ci, "run", "list", **url).returncode == 0
        assert automata(database_url, "audit", "list", **url, AUTOMATA_TOKEN=ci).returncode == 5
        log = automata(database_url, "audit", "list", "-o", "json", **url, AUTOMATA_TOKEN=admin)
        rows = json.loads(log.stdout)["items"][:2]
        assert [(row["action"], row["object"], row["address"]) for row in rows] == [
            ("token.create", "token/ci", "cli"),
            ("token.create", "token/admin", "cli"),
        ]
    finally:
        server.send_signal(signal.SIGTERM)
        told, logged = server.communicate(timeout=120)
    assert server.returncode == 0, logged
    assert admin not in told + logged + log.stdout
    assert ci not in told + logged + log.stdout


def test_a_token_is_shown_once_rotated_and_revoked(database_url):
    name = f"t{os.getpid()}"
    labels = ("--label", "team=billing", "--label", "rule=a=b")
    assert automata(database_url, "token", "create", name, "--label", "billing").returncode == 3
    made = automata(database_url, "token", "create", name, "--role", "author", "--days", "3", *labels)
    assert made.returncode == 0, made.stderr
    text = made.stdout.strip()
    assert text.startswith("atm_")
    assert automata(database_url, "token", "create", name).returncode == 6
    rotated = automata(database_url, "token", "rotate", name)
    assert rotated.stdout.strip().startswith("atm_")
    assert rotated.stdout.strip() != text
    assert automata(database_url, "token", "revoke", name).returncode == 0
    listed = automata(database_url, "token", "list", "--revoked", "-o", "json")
    (row,) = [item for item in json.loads(listed.stdout)["items"] if item["name"] == name]
    assert (row["role"], row["revoked_at"] is not None, "token" in row) == ("author", True, False)
    assert row["labels"] == {"team": "billing", "rule": "a=b"}
    pasted = automata(database_url, "token", "revoke", text)
    assert (pasted.returncode, text in pasted.stderr) == (3, False)


def test_a_server_for_others_that_asks_nobody_is_not_started(database_url):
    answer = automata(database_url, "api", "--host", "0.0.0.0", "--port", "0", AUTOMATA_AUTH="off")
    assert answer.returncode == 5, answer.stderr
    assert "AUTOMATA_AUTH=off" in answer.stderr


@pytest.mark.parametrize("text", ["a b", "a\r\nx: y", "é"])
def test_what_is_no_token_is_not_sent(text, monkeypatch):
    monkeypatch.setenv("AUTOMATA_TOKEN", text)
    with pytest.raises(Usage, match="no token"):
        Api("http://127.0.0.1:1")
    assert client.given_token.get() == ""


def test_a_reviewer_without_a_mail_is_told_what_that_costs(database_url):
    for name, more, told in (("r1", (), True), ("r2", ("--mail", "ada@example.com"), False)):
        made = automata(database_url, "token", "create", name, "--role", "reviewer", *more)
        assert made.returncode == 0
        assert ("It approves no proposal" in made.stderr) is told
        assert made.stdout.startswith("atm_")
        automata(database_url, "token", "revoke", name)
