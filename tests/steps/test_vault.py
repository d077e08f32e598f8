"""Secrets from Vault: each way to log in, caching with an end, and errors that say what to do and give nothing away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from automata.errors import AutomataError, Refused, Unavailable, Usage
from automata.steps.secrets import Secrets, open_secrets
from automata.steps.vault import MAX_ANSWER_BYTES, Vault, config_of
from tests.steps.vault_double import JWT, ROLE_ID, SECRET_ID, VaultDouble

TOKEN = "hvs.root-token-of-the-test"
VALUE = 'v4ult/"value&1'


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


OpenVault = Callable[..., Awaitable[tuple[Vault, VaultDouble, Clock]]]


@asynccontextmanager
async def vault_on(double: VaultDouble | None = None, **env: str) -> AsyncIterator[tuple[Vault, VaultDouble, Clock]]:
    server = double or VaultDouble()
    server.tokens.setdefault(TOKEN, None)
    server.put("automata", {"TOKEN": VALUE, "PORT": 8080, "LONG": 2**64 + 1, "IDS": [2**70]})
    async with server.running() as addr:
        config = config_of({"AUTOMATA_VAULT_ADDR": addr, **(env or {"AUTOMATA_VAULT_TOKEN": TOKEN})})
        assert config
        clock = Clock()
        vault = Vault(config, clock)
        try:
            yield vault, server, clock
        finally:
            await vault.close()


@pytest.fixture
async def open_vault() -> AsyncIterator[OpenVault]:
    """Call it for a Vault that holds VALUE as the field TOKEN of `secret/automata`; `env` replaces settings."""
    async with AsyncExitStack() as stack:
        yield lambda double=None, **env: stack.enter_async_context(vault_on(double, **env))


async def told(call: Awaitable[Any]) -> AutomataError:
    with pytest.raises(AutomataError) as caught:
        await call
    assert VALUE not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_a_field_of_the_document_is_a_secret_and_what_is_not_there_is_none(open_vault: OpenVault) -> None:
    vault, server, clock = await open_vault()
    assert await vault.get("TOKEN") == VALUE
    assert await vault.get("PORT") == "8080"
    assert await vault.get("LONG") == "18446744073709551617"
    assert await vault.get("IDS") == "[1180591620717411303424]"
    assert await vault.get("OTHER") is None
    server.put("automata", None)
    clock.now += 61
    assert await vault.get("TOKEN") is None, "the newest version was deleted"


async def test_each_secret_may_have_a_document_of_its_own_in_a_namespace(open_vault: OpenVault) -> None:
    double = VaultDouble(namespaces={"", "team/a"})
    double.put("flows/TOKEN/prod", {"value": "of team a"}, mount="kv", namespace="team/a")

    vault, _, _ = await open_vault(
        double,
        AUTOMATA_VAULT_TOKEN=TOKEN,
        AUTOMATA_VAULT_NAMESPACE="team/a",
        AUTOMATA_VAULT_MOUNT="kv",
        AUTOMATA_VAULT_PATH="flows/{name}/prod",
    )
    assert await vault.get("TOKEN") == "of team a"
    assert await vault.get("OTHER") is None


async def test_a_value_is_read_again_when_its_time_in_the_cache_is_over_and_by_all_steps_at_once(
    open_vault: OpenVault,
) -> None:
    vault, server, clock = await open_vault()
    assert set(await asyncio.gather(*(vault.get("TOKEN") for _ in range(50)))) == {VALUE}
    assert server.reads == 1
    server.put("automata", {"TOKEN": "rotated"})
    clock.now += 59
    assert await vault.get("TOKEN") == VALUE
    clock.now += 2
    assert await vault.get("TOKEN") == "rotated"
    assert server.reads == 2


async def test_while_vault_is_sealed_a_known_value_lasts_for_a_bounded_time(open_vault: OpenVault) -> None:
    vault, server, clock = await open_vault()
    await vault.get("TOKEN")
    server.sealed = True
    clock.now += 60 + 299
    assert await vault.get("TOKEN") == VALUE
    clock.now += 2
    error = await told(vault.get("TOKEN"))
    assert (type(error), error.code) == (Unavailable, "vault_sealed")
    server.sealed = False
    assert await vault.get("TOKEN") == VALUE


async def test_the_login_by_approle_is_renewed_before_it_ends_and_after_it_was_revoked(open_vault: OpenVault) -> None:
    vault, server, clock = await open_vault(
        VaultDouble(lease=100),
        AUTOMATA_VAULT_AUTH="approle",
        AUTOMATA_VAULT_AUTH_MOUNT="approle-2",
        AUTOMATA_VAULT_ROLE_ID=ROLE_ID,
        AUTOMATA_VAULT_SECRET_ID=SECRET_ID,
    )
    heard: list[str] = []
    vault.on_credential = heard.append
    assert await vault.get("TOKEN") == VALUE
    assert server.logins == [("approle-2", {"role_id": ROLE_ID, "secret_id": SECRET_ID})]
    clock.now += 100 * 2 / 3 + 1
    await vault.get("TOKEN")
    assert len(server.logins) == 2, "a third of the lease was left"
    server.tokens.clear()
    clock.now += 61
    assert await vault.get("TOKEN") == VALUE
    assert len(server.logins) == 3
    assert SECRET_ID in heard
    assert sum(one.startswith("hvs.") for one in heard) == 3


async def test_a_pod_logs_in_with_its_own_token(tmp_path: Path, open_vault: OpenVault) -> None:
    (tmp_path / "token").write_text(JWT + "\n")

    vault, server, clock = await open_vault(
        AUTOMATA_VAULT_AUTH="kubernetes",
        AUTOMATA_VAULT_ROLE="automata",
        AUTOMATA_VAULT_JWT_FILE=str(tmp_path / "token"),
    )
    assert await vault.get("TOKEN") == VALUE
    assert server.logins == [("kubernetes", {"role": "automata", "jwt": JWT})]
    (tmp_path / "token").write_text("another")
    server.tokens.clear()
    clock.now += 61
    assert (await told(vault.get("TOKEN"))).code == "vault_login"


async def test_a_token_that_an_agent_renews_is_read_from_its_file_again(tmp_path: Path, open_vault: OpenVault) -> None:
    file = tmp_path / "sink"
    file.write_text(TOKEN)

    vault, server, clock = await open_vault(AUTOMATA_VAULT_TOKEN_FILE=str(file))
    await vault.get("TOKEN")
    del server.tokens[TOKEN]
    server.tokens["hvs.the-next-one"] = None
    file.write_text("hvs.the-next-one\n")
    clock.now += 59.5
    vault._documents.clear()
    assert await vault.get("TOKEN") == VALUE


async def test_a_token_that_may_not_read_is_told_the_policy_that_it_lacks(open_vault: OpenVault) -> None:
    double = VaultDouble(tokens={TOKEN: set()})

    vault, _, _ = await open_vault(double)
    error = await told(vault.get("TOKEN"))
    assert (type(error), error.code) == (Refused, "vault_denied")
    assert 'path "secret/data/automata"' in str(error.hint)


async def test_a_redirect_is_not_followed_with_the_token(open_vault: OpenVault) -> None:
    other = VaultDouble(tokens={TOKEN: None})

    vault, server, _ = await open_vault()
    async with other.running() as elsewhere:
        server.redirect = elsewhere
        assert (await told(vault.get("TOKEN"))).code == "vault_redirect"
    assert other.seen == []


@pytest.mark.parametrize(("status", "kind"), [(500, Unavailable), (429, Unavailable), (400, Refused), (404, None)])
async def test_each_status_is_told_for_what_it_is(
    status: int, kind: type[AutomataError] | None, open_vault: OpenVault
) -> None:
    vault, server, _ = await open_vault()
    server.down = status
    if kind is None:
        assert await vault.get("TOKEN") is None
    else:
        assert type(await told(vault.get("TOKEN"))) is kind


async def test_an_answer_without_end_is_cut_off(open_vault: OpenVault) -> None:
    vault, server, _ = await open_vault()
    server.put("automata", {"TOKEN": "x" * (MAX_ANSWER_BYTES + 1)})
    assert (await told(vault.get("TOKEN"))).code == "vault_answer"


async def test_a_vault_that_is_away_fails_a_step_in_words_and_for_now() -> None:
    env = {
        "AUTOMATA_VAULT_ADDR": "http://127.0.0.1:9",
        "AUTOMATA_VAULT_TOKEN": TOKEN,
        "AUTOMATA_SECRET_HERE": "abcd",
    }
    secrets = open_secrets(env, points=())
    try:
        assert await secrets.read(frozenset({"HERE"})) == {"HERE": "abcd"}, "the environment needs no Vault"
        with pytest.raises(Unavailable, match="AWAY could not be read from Vault") as caught:
            await secrets.read(frozenset({"AWAY"}))
        assert caught.value.code == "secret_unavailable"
        assert secrets.mask(f"log {TOKEN}") == "log ***", "the way in is a secret too"
    finally:
        await secrets.close()


async def test_what_vault_gave_is_masked_and_stays_masked_after_its_rotation(open_vault: OpenVault) -> None:
    vault, server, clock = await open_vault()
    secrets = Secrets({}, [vault])
    await secrets.read(frozenset({"TOKEN"}))
    server.put("automata", {"TOKEN": "rotated-value"})
    clock.now += 61
    assert await secrets.read(frozenset({"TOKEN"})) == {"TOKEN": "rotated-value"}
    assert secrets.mask(f"{VALUE} rotated-value") == "*** ***"


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"TOKEN": "x"}, "ADDR"),
        ({"ADDR": "ftp://x"}, "ADDR"),
        ({"ADDR": "https://user:pw@x"}, "ADDR"),
        ({"ADDR": "https://x"}, "TOKEN"),
        ({"ADDR": "https://x", "TOKEN": "a", "TOKEN_FILE": "b"}, "TOKEN"),
        ({"ADDR": "https://x", "AUTH": "ldap"}, "AUTH"),
        ({"ADDR": "https://x", "AUTH": "approle"}, "ROLE_ID"),
        ({"ADDR": "https://x", "AUTH": "kubernetes"}, "ROLE"),
        ({"ADDR": "https://x", "TOKEN": "a", "MOUNT": "../sys"}, "MOUNT"),
        ({"ADDR": "https://x", "TOKEN": "a", "PATH": "a/../b"}, "PATH"),
        ({"ADDR": "https://x", "TOKEN": "a", "CACHE_SEC": "never"}, "CACHE_SEC"),
        ({"ADDR": "https://x", "TOKEN": "a", "CACHE_SEC": "86400"}, "CACHE_SEC"),
        ({"ADDR": "https://x", "TOKEN": "a", "ADRESS": "b"}, "ADRESS"),
        ({"ADDR": "https://x", "TOKEN_FILE": "/nowhere/token"}, "/nowhere/token"),
        ({"ADDR": "https://x", "TOKEN": "a", "CA_FILE": "/nowhere/ca.pem"}, "CA_FILE"),
    ],
)
def test_a_setting_that_cannot_work_is_named_at_the_start(env: dict[str, str], word: str) -> None:
    with pytest.raises(Usage, match=word):
        config_of({f"AUTOMATA_VAULT_{name}": value for name, value in env.items()})
