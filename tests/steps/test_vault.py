"""Secrets from Vault: each way to log in, caching with an end, and errors that say what to do and give nothing away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


def on_vault(
    test: Callable[[Vault, VaultDouble, Clock], Awaitable[Any]], double: VaultDouble | None = None, **env: str
) -> Any:
    """Run `test` with a Vault that holds VALUE as the field TOKEN of `secret/automata`; `env` replaces settings."""
    vault_server = double or VaultDouble()
    vault_server.tokens.setdefault(TOKEN, None)
    vault_server.put("automata", {"TOKEN": VALUE, "PORT": 8080})

    async def main() -> Any:
        async with vault_server.running() as addr:
            given = {"AUTOMATA_VAULT_ADDR": addr, **(env or {"AUTOMATA_VAULT_TOKEN": TOKEN})}
            config = config_of(given)
            assert config
            clock = Clock()
            vault = Vault(config, clock)
            try:
                return await test(vault, vault_server, clock)
            finally:
                await vault.close()

    return asyncio.run(main())


async def told(call: Awaitable[Any]) -> AutomataError:
    with pytest.raises(AutomataError) as caught:
        await call
    assert VALUE not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


def test_a_field_of_the_document_is_a_secret_and_what_is_not_there_is_none() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        assert await vault.get("TOKEN") == VALUE
        assert await vault.get("PORT") == "8080"
        assert await vault.get("OTHER") is None
        server.put("automata", None)
        clock.now += 61
        assert await vault.get("TOKEN") is None, "the newest version was deleted"

    on_vault(test)


def test_each_secret_may_have_a_document_of_its_own_in_a_namespace() -> None:
    double = VaultDouble(namespaces={"", "team/a"})
    double.put("flows/TOKEN/prod", {"value": "of team a"}, mount="kv", namespace="team/a")

    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        assert await vault.get("TOKEN") == "of team a"
        assert await vault.get("OTHER") is None

    on_vault(
        test,
        double,
        AUTOMATA_VAULT_TOKEN=TOKEN,
        AUTOMATA_VAULT_NAMESPACE="team/a",
        AUTOMATA_VAULT_MOUNT="kv",
        AUTOMATA_VAULT_PATH="flows/{name}/prod",
    )


def test_a_value_is_read_again_when_its_time_in_the_cache_is_over_and_by_all_steps_at_once() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        assert set(await asyncio.gather(*(vault.get("TOKEN") for _ in range(50)))) == {VALUE}
        assert server.reads == 1
        server.put("automata", {"TOKEN": "rotated"})
        clock.now += 59
        assert await vault.get("TOKEN") == VALUE
        clock.now += 2
        assert await vault.get("TOKEN") == "rotated"
        assert server.reads == 2

    on_vault(test)


def test_while_vault_is_sealed_a_known_value_lasts_for_a_bounded_time() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        await vault.get("TOKEN")
        server.sealed = True
        clock.now += 60 + 299
        assert await vault.get("TOKEN") == VALUE
        clock.now += 2
        error = await told(vault.get("TOKEN"))
        assert (type(error), error.code) == (Unavailable, "vault_sealed")
        server.sealed = False
        assert await vault.get("TOKEN") == VALUE

    on_vault(test)


def test_the_login_by_approle_is_renewed_before_it_ends_and_after_it_was_revoked() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
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

    on_vault(
        test,
        VaultDouble(lease=100),
        AUTOMATA_VAULT_AUTH="approle",
        AUTOMATA_VAULT_AUTH_MOUNT="approle-2",
        AUTOMATA_VAULT_ROLE_ID=ROLE_ID,
        AUTOMATA_VAULT_SECRET_ID=SECRET_ID,
    )


def test_a_pod_logs_in_with_its_own_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(JWT + "\n")

    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        assert await vault.get("TOKEN") == VALUE
        assert server.logins == [("kubernetes", {"role": "automata", "jwt": JWT})]
        (tmp_path / "token").write_text("another")
        server.tokens.clear()
        clock.now += 61
        assert (await told(vault.get("TOKEN"))).code == "vault_login"

    on_vault(
        test,
        AUTOMATA_VAULT_AUTH="kubernetes",
        AUTOMATA_VAULT_ROLE="automata",
        AUTOMATA_VAULT_JWT_FILE=str(tmp_path / "token"),
    )


def test_a_token_that_an_agent_renews_is_read_from_its_file_again(tmp_path: Path) -> None:
    file = tmp_path / "sink"
    file.write_text(TOKEN)

    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        await vault.get("TOKEN")
        del server.tokens[TOKEN]
        server.tokens["hvs.the-next-one"] = None
        file.write_text("hvs.the-next-one\n")
        clock.now += 59.5
        vault._documents.clear()
        assert await vault.get("TOKEN") == VALUE

    on_vault(test, AUTOMATA_VAULT_TOKEN_FILE=str(file))


def test_a_token_that_may_not_read_is_told_the_policy_that_it_lacks() -> None:
    double = VaultDouble(tokens={TOKEN: set()})

    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        error = await told(vault.get("TOKEN"))
        assert (type(error), error.code) == (Refused, "vault_denied")
        assert 'path "secret/data/automata"' in str(error.hint)

    on_vault(test, double)


def test_a_redirect_is_not_followed_with_the_token() -> None:
    other = VaultDouble(tokens={TOKEN: None})

    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        async with other.running() as elsewhere:
            server.redirect = elsewhere
            assert (await told(vault.get("TOKEN"))).code == "vault_redirect"
        assert other.seen == []

    on_vault(test)


@pytest.mark.parametrize(("status", "kind"), [(500, Unavailable), (429, Unavailable), (400, Refused), (404, None)])
def test_each_status_is_told_for_what_it_is(status: int, kind: type[AutomataError] | None) -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        server.down = status
        if kind is None:
            assert await vault.get("TOKEN") is None
        else:
            assert type(await told(vault.get("TOKEN"))) is kind

    on_vault(test)


def test_an_answer_without_end_is_cut_off() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        server.put("automata", {"TOKEN": "x" * (MAX_ANSWER_BYTES + 1)})
        assert (await told(vault.get("TOKEN"))).code == "vault_answer"

    on_vault(test)


def test_a_vault_that_is_away_fails_a_step_in_words_and_for_now() -> None:
    async def main() -> None:
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

    asyncio.run(main())


def test_what_vault_gave_is_masked_and_stays_masked_after_its_rotation() -> None:
    async def test(vault: Vault, server: VaultDouble, clock: Clock) -> None:
        secrets = Secrets({}, [vault])
        await secrets.read(frozenset({"TOKEN"}))
        server.put("automata", {"TOKEN": "rotated-value"})
        clock.now += 61
        assert await secrets.read(frozenset({"TOKEN"})) == {"TOKEN": "rotated-value"}
        assert secrets.mask(f"{VALUE} rotated-value") == "*** ***"

    on_vault(test)


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
