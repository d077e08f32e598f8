"""Signing in by an OpenID Connect provider: who is let in and as whom, and what a hostile answer comes to."""

from __future__ import annotations

import base64
import hmac
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from automata.access import pending_signin
from automata.access.idtoken import Verifier
from automata.access.oidc import config_of, person_of, principal_of
from automata.access.principal import Role
from automata.access.provider import MAX_BYTES, Provider, provider_of
from automata.errors import Usage
from automata.git.branches import Person
from automata.http.authentication import COOKIE, Authenticator
from automata.operations.context import AppContext
from automata.project.source import Source
from automata.settings import Settings, load
from automata.sync.reconcile import sync_once
from automata.web.oidc import COOKIE as PENDING
from tests.proposals.repo import Repo, text
from tests.web.conftest import OpenSite, Site, read
from tests.web.idp import ADA, WELL_KNOWN, Idp

ME = "/api/v1/me"
START = "/sign-in/oidc"


@pytest.fixture(scope="module")
def running() -> Iterator[Idp]:
    made = Idp()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def idp(running: Idp) -> Idp:
    running.reset()
    return running


async def back_from(site: Site, idp: Idp, onto: str = "/runs") -> str:
    """Where a browser is sent that has signed in at the provider."""
    answer = await site.http.get(START, params={"next": onto})
    assert answer.status_code == 303, answer.text
    return await idp.visit(answer.headers["location"])


async def sign_in(site: Site, idp: Idp, onto: str = "/runs") -> httpx.Response:
    return await site.http.get(await back_from(site, idp, onto))


async def refused(site: Site, answer: httpx.Response, status: int, *words: str) -> None:
    """A page that says why, with the way to try again, and nobody is signed in."""
    page = read(answer, status)
    for word in words:
        assert word in page.text, page.text
    assert any(link.startswith(START) for link in page.links())
    assert COOKIE not in site.http.cookies
    assert (await site.http.get(ME)).status_code == 401


async def test_a_person_of_the_provider_is_signed_in_with_the_highest_role_of_their_groups(
    open_site: OpenSite, idp: Idp
) -> None:
    site = await open_site(**idp.settings())
    answer = await sign_in(site, idp, "/runs?status=FAILED")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?status=FAILED"), answer.text
    me = (await site.http.get(ME)).json()
    name = f"oidc:{idp.issuer.removeprefix('http://')}:ada-1"
    assert (me["name"], me["mail"], me["role"]) == (name, "ada@example.com", "reviewer")
    entry = (await site.audit(action="session.open"))[-1]
    assert (entry["actor"], entry["role"]) == (name, "reviewer")
    assert entry["after"]["mail"] == "ada@example.com"
    assert entry["after"]["issuer"] == idp.issuer

    answer = await site.http.post("/sign-out", headers={"x-csrf-token": me["csrf_token"]})
    assert answer.status_code == 204
    assert (await site.http.get(ME)).status_code == 401

    idp.key = idp.rsa
    for method in ("client_secret_post", "client_secret_basic"):
        idp.auth_method = method
        site.authenticator.provider = Provider(site.authenticator.provider.config)
        assert (await sign_in(site, idp)).status_code == 303
    assert idp.faults == []


async def test_the_page_has_the_button_where_a_provider_is_set(open_site: OpenSite, idp: Idp) -> None:
    site = await open_site(**idp.settings())
    page = read(await site.http.get("/sign-in?next=/runs"))
    assert "Sign in with Example" in page.text
    assert f"{START}?next=/runs" in page.links()


async def test_the_page_has_no_button_where_no_provider_is_set(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    page = read(await site.http.get("/sign-in"))
    assert not any(START in link for link in page.links())
    assert (await site.http.get(START)).status_code == 404
    assert (await site.http.get(f"{START}/callback?code=x&state=y")).status_code == 404


NOT_LET_IN = [
    ({"groups": None}, "no_role"),
    ({"groups": []}, "no_role"),
    ({"groups": ["other"]}, "no_role"),
    ({"groups": "staf"}, "no_role"),
    ({"groups": {"staff": True}}, "no_role"),
    ({"groups": [["staff"], 7]}, "no_role"),
    ({"email_verified": False}, "mail_not_verified"),
    ({"email_verified": None}, "mail_not_verified"),
    ({"email": None}, "mail_not_verified"),
    ({"email": "ädä@example.com"}, "mail_not_verified"),
    ({"email": "Grace <grace@example.com>"}, "mail_not_verified"),
]
WORDS = {"no_role": "nothing there lets you in", "mail_not_verified": "your mail address is verified"}


async def test_whoever_has_no_role_or_cannot_be_told_from_authors_is_not_let_in(open_site: OpenSite, idp: Idp) -> None:
    site = await open_site(**idp.settings(failed_auth_per_min=0))
    for person, code in NOT_LET_IN:
        idp.person = ADA | person
        await refused(site, await sign_in(site, idp), 403, WORDS[code])
        entry = (await site.audit(action="session.refuse"))[-1]
        assert (entry["after"]["why"], entry["role"]) == (code, "none"), person
        assert entry["actor"].endswith(":ada-1")


async def test_a_person_whose_mail_is_not_verified_may_be_less_than_a_reviewer_under_nobodys_address(
    open_site: OpenSite, idp: Idp
) -> None:
    site = await open_site(**idp.settings())
    idp.person |= {"email_verified": False, "groups": "runners"}
    assert (await sign_in(site, idp)).status_code == 303
    me = (await site.http.get(ME)).json()
    assert me["role"] == "operator"
    assert me["mail"].endswith("@oidc.invalid")


async def test_an_answer_counts_once_and_only_for_the_browser_and_the_sign_in_that_it_is_for(
    open_site: OpenSite, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(**idp.settings(failed_auth_per_min=0))
    jar = site.http.cookies
    back = await back_from(site, idp)
    kept = jar[PENDING]
    cases = {
        "no cookie": ("", back),
        "made up": ("x.1./", back),
        "no parts": ("x", back),
        "no moment": ("x.y./", back),
        "altered": (kept.replace("/runs", "/admin"), back),
        "no state": (kept, back.replace("state=", "other=")),
        "another state": (kept, back.replace("state=", "state=x")),
    }
    for cookie, address in cases.values():
        jar.clear()
        await refused(site, await site.http.get(address, headers={"cookie": f"{PENDING}={cookie}"}), 403, "no sign-in")
    other = await back_from(site, idp)  # somebody else's answer, in this browser
    jar.set(PENDING, kept, domain="127.0.0.1")
    await refused(site, await site.http.get(other), 403, "no sign-in")

    with monkeypatch.context() as later:
        later.setattr(pending_signin, "time", SimpleNamespace(time=lambda: time.time() + 601))
        await refused(site, await site.http.get(back), 403, "no sign-in")
    assert idp.asked["/token"] == 0

    jar.clear()
    jar.set(PENDING, kept, domain="127.0.0.1")
    assert (await site.http.get(back)).status_code == 303
    assert PENDING not in jar
    jar.clear()
    jar.set(PENDING, kept, domain="127.0.0.1")
    await refused(site, await site.http.get(back), 403, "used already")
    assert idp.asked["/token"] == 1


def by_hand(header: dict[str, Any], secret: bytes = b"") -> Callable[[dict[str, Any]], str]:
    """What no library makes: a token without a signature, or with a public key as the password."""

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    def forge(claims: dict[str, Any]) -> str:
        signed = f"{text(orjson.dumps(header))}.{text(orjson.dumps(claims))}"
        return f"{signed}.{text(hmac.digest(secret, signed.encode(), 'sha256')) if secret else ''}"

    return forge


async def test_an_id_token_that_is_not_the_providers_or_not_for_this_sign_in_opens_nothing(
    open_site: OpenSite, idp: Idp
) -> None:
    now = int(time.time())
    thief = ECKey.generate_key("P-256", {"kid": "ec-1"})
    unknown = ECKey.generate_key("P-256", {"kid": "ec-9"})

    def with_(key: Any, header: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
        return lambda claims: jwt.encode(header, claims, key, algorithms=[header["alg"]])

    bent: list[tuple[dict[str, Any], str]] = [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": f"{idp.issuer}/"}, "iss"),
        ({"aud": "another"}, "aud"),
        ({"aud": ["another"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["automata", "another"]}, "azp"),
        ({"aud": ["automata", "another"], "azp": "another"}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"exp": now - 61}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": now + 120}, "in the future"),
        ({"iat": now - 700}, "too long ago"),
        ({"iat": None}, "iat"),
        ({"nbf": now + 120}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 256}, "sub"),
    ]
    forged: list[Callable[[dict[str, Any]], str]] = [
        by_hand({"alg": "none"}),
        by_hand({"alg": "none", "kid": "ec-1"}),
        by_hand({"alg": "HS256", "kid": "rsa-1"}, idp.rsa.as_pem(private=False)),
        by_hand({"alg": "HS256", "kid": "ec-1"}, orjson.dumps(idp.ec.as_dict(private=False))),
        by_hand({"alg": "ES256", "kid": "ec-1", "crit": ["b64"], "b64": False}, b"x"),
        with_(thief, {"alg": "ES256", "kid": "ec-1"}),
        with_(thief, {"alg": "ES256", "kid": "ec-1", "jwk": thief.as_dict(private=False)}),
        with_(idp.rsa, {"alg": "PS256", "kid": "rsa-1"}),
        lambda claims: idp.signed(claims)[:-8],
        lambda claims: "no token",
        lambda claims: "a.b.c",
        lambda claims: "",
    ]
    strange = [with_(thief, {"alg": "ES256"}), with_(unknown, {"alg": "ES256", "kid": "ec-9"})]

    site = await open_site(**idp.settings(failed_auth_per_min=0))
    cases: list[tuple[dict[str, Any], Callable[[dict[str, Any]], str], str]] = [
        *((claims, idp.signed, why) for claims, why in bent),
        *(({}, forge, "signature is not good") for forge in forged),
        *(({}, forge, "key is unknown") for forge in strange),
    ]
    for claims, forge, why in cases:
        idp.claims, idp.forge = claims, forge
        await refused(site, await sign_in(site, idp), 403, "cannot be believed", why)
        entry = (await site.audit(action="session.refuse"))[-1]
        assert entry["after"]["why"] == "bad_id_token", claims
    idp.claims, idp.forge = {"aud": ["automata", "another"], "azp": "automata"}, idp.signed
    assert (await sign_in(site, idp)).status_code == 303


async def test_a_key_that_the_provider_has_changed_is_fetched_once(open_site: OpenSite, idp: Idp) -> None:
    site = await open_site(**idp.settings())
    for _ in range(2):
        assert (await sign_in(site, idp)).status_code == 303
    assert idp.asked == {WELL_KNOWN: 1, "/authorize": 2, "/token": 2, "/keys": 1}
    idp.key = ECKey.generate_key("P-256", {"kid": "ec-2"})
    idp.keys = [idp.key]
    assert (await sign_in(site, idp)).status_code == 303
    assert idp.asked["/keys"] == 2
    site.http.cookies.clear()
    idp.key = ECKey.generate_key("P-256", {"kid": "ec-3"})
    await refused(site, await sign_in(site, idp), 403, "key is unknown")
    assert idp.asked["/keys"] == 3


async def test_a_provider_that_is_slow_dead_or_talks_nonsense_costs_a_moment_and_lets_nobody_in(
    open_site: OpenSite, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    site = await open_site(**idp.settings(failed_auth_per_min=0))
    provider = site.authenticator.provider
    assert provider is not None

    async def start(because: str) -> None:
        caplog.clear()
        answer = await site.http.get(START)
        await refused(site, answer, 503, "does not work at the moment")
        assert int(answer.headers["retry-after"]) > 0
        assert because in " ".join(str(vars(record).get("why")) for record in caplog.records)

    huge = b'{"issuer": "' + b"x" * MAX_BYTES + b'"}'
    for answer in (huge, b"", b"no JSON", b"[]", b"{" * 100_000):
        idp.documents = {WELL_KNOWN: answer}
        await start("response" if answer is huge else "no JSON object")
    idp.documents = {}
    for about, because in (
        ({"issuer": "https://evil.example"}, "https://evil.example"),
        ({"issuer": f"{idp.issuer}/"}, "AUTOMATA_OIDC_ISSUER"),
        ({"issuer": None}, "AUTOMATA_OIDC_ISSUER"),
        ({"token_endpoint": "ftp://x/"}, "token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"authorization_endpoint": "http://a\r\nx: y/"}, "authorization_endpoint"),
        ({"jwks_uri": ["x"]}, "jwks_uri"),
    ):
        idp.about = about
        await start(because)
    idp.about = {}
    provider.request_sec, idp.delay_sec = 0.2, 0.4
    await start("took too long")
    provider.request_sec, idp.delay_sec = 5, 0

    back = await back_from(site, idp)
    idp.documents = {"/token": huge}
    await refused(site, await site.http.get(back), 503, "does not work")
    idp.documents = {"/token": b"{}"}
    await refused(site, await sign_in(site, idp), 503, "does not work")
    idp.documents = {"/keys": b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'}
    await refused(site, await sign_in(site, idp), 503, "does not work")
    idp.documents = {}
    assert (await sign_in(site, idp)).status_code == 303  # and nothing of that is remembered

    site.http.cookies.clear()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        issuer = f"http://127.0.0.1:{gone.getsockname()[1]}"
    site.authenticator.provider = Provider(replace(provider.config, issuer=issuer))
    await start("no connection")


async def test_what_the_provider_refuses_is_said_and_what_it_did_not_say_is_not_believed(
    open_site: OpenSite, idp: Idp
) -> None:
    site = await open_site(**idp.settings(failed_auth_per_min=0))
    for says, words in (
        ({"error": "access_denied", "code": ""}, "may not, or did not want to"),
        ({"error": "<script>alert(1)</script>", "code": ""}, "did not sign you in"),
        ({"error": "access_denied"}, "may not, or did not want to"),
        ({"code": ""}, "did not sign you in"),
        ({"code": "made up"}, "does not take its own code back"),
        ({"iss": "https://evil.example"}, "another provider"),
    ):
        idp.says = says
        await refused(site, await sign_in(site, idp), 403, words)
    idp.says, idp.about = {}, {"authorization_response_iss_parameter_supported": True}
    site.authenticator.provider = Provider(site.authenticator.provider.config)
    await refused(site, await sign_in(site, idp), 403, "another provider")
    idp.says = {"iss": idp.issuer}
    assert (await sign_in(site, idp)).status_code == 303


async def test_nobody_is_sent_elsewhere_and_an_address_that_fails_too_often_waits(
    open_site: OpenSite, idp: Idp
) -> None:
    site = await open_site(**idp.settings(failed_auth_per_min=2))
    for onto in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "x",
        "/" + "x" * 1_001,
    ):
        assert (await sign_in(site, idp, onto)).headers["location"] == "/", onto
    site.http.cookies.clear()
    for _ in range(2):
        await refused(site, await site.http.get(f"{START}/callback?state=x&code=y"), 403, "no sign-in")
    answer = await site.http.get(await back_from(site, idp))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_a_session_is_over_after_its_time_and_when_other_roles_are_set(open_site: OpenSite, idp: Idp) -> None:
    site = await open_site(**idp.settings(oidc_session_min=30))
    assert (await sign_in(site, idp)).status_code == 303
    async with site.db.connection() as conn:
        cursor = await conn.execute("SELECT extract(epoch FROM expires_at - created_at)::int FROM access_sessions")
        assert await cursor.fetchall() == [(30 * 60,)]
    cookie = {"cookie": f"{COOKIE}={site.http.cookies[COOKIE]}"}
    for more, status in (({}, 200), ({"oidc_roles": ("staff=viewer",)}, 401), ({"oidc_issuer": ""}, 401)):
        settings = Settings(**idp.settings(**more))
        provider = provider_of(config_of(settings)) if settings.oidc_issuer else None
        context = AppContext.of(site.db, site.broker, replace(settings, session_secret=""), provider=provider)
        site.authenticator = Authenticator.of(context, provider)
        assert (await site.http.get(ME, headers=cookie)).status_code == status, more


async def test_what_a_person_does_bears_their_name_and_their_mail(open_site: OpenSite, idp: Idp) -> None:
    site = await open_site(**idp.settings())
    site.as_(await site.token("author"))
    await site.flow()
    del site.http.headers["authorization"]
    idp.person |= {"sub": "evil <x@y> \n" + "z" * 200}
    await sign_in(site, idp)
    me = (await site.http.get(ME)).json()
    assert Person(me["name"], me["mail"]).key == "ada@example.com"
    answer = await site.http.post(
        "/api/v1/flows/orders/runs", json={"inputs": {}}, headers={"x-csrf-token": me["csrf_token"]}
    )
    assert answer.json()["created_by"] == f"{me['name']} <ada@example.com>"
    assert "~" in me["name"]


async def test_a_reviewer_of_the_provider_approves_but_not_what_bears_their_mail(
    open_site: OpenSite, idp: Idp, tmp_path: Path
) -> None:
    repo = Repo.made(tmp_path)

    site = await open_site(**idp.settings(repo=str(repo.bare), data_dir=str(tmp_path)))
    await sync_once(site.db, Source(str(repo.bare)))
    site.as_(await site.token("author", name="laptop", mail="Ada@Example.com"))
    body = {"branch": "fix", "files": {"flows/orders.yaml": text("orders", 2)}, "message": "x"}
    answer = await site.http.post("/api/v1/proposals", json=body)
    assert answer.status_code == 201, answer.text
    here = f"/api/v1/proposals/{answer.json()['number']}"
    assert (await site.http.post(f"{here}/submit", json={})).status_code == 200
    del site.http.headers["authorization"]

    async def approve() -> httpx.Response:
        assert (await sign_in(site, idp)).status_code == 303
        token = (await site.http.get(ME)).json()["csrf_token"]
        head = (await site.http.get(here)).json()["head_sha"]
        return await site.http.post(f"{here}/approve", json={"head": head}, headers={"x-csrf-token": token})

    answer = await approve()
    assert (answer.status_code, answer.json()["code"]) == (409, "own_proposal")
    idp.person |= {"sub": "grace-1", "email": "grace@example.com"}
    answer = await approve()
    assert answer.status_code == 200, answer.text
    name = f"oidc:{idp.issuer.removeprefix('http://')}:grace-1"
    assert f"{name} <grace@example.com>" in str((await site.http.get(here)).json())


GOOD = {
    "auth": "on",
    "public_url": "https://automata.example.com",
    "oidc_issuer": "https://login.example.com/realms/work",
    "oidc_client_id": "automata",
    "oidc_client_secret": "secret",
    "oidc_roles": ("CN=ops,DC=example=admin", "staff=viewer"),
}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"oidc_client_id": ""}, "OIDC_CLIENT_ID is not set"),
        ({"oidc_client_secret": ""}, "OIDC_CLIENT_SECRET is not set"),
        ({"oidc_roles": ()}, "OIDC_ROLES is not set"),
        ({"oidc_issuer": ""}, "OIDC_ISSUER is not set"),
        ({"oidc_issuer": "http://login.example.com"}, "OIDC_ISSUER is not https"),
        ({"oidc_issuer": "login.example.com"}, "OIDC_ISSUER is not https"),
        ({"oidc_issuer": "https://login.example.com/?x=1"}, "OIDC_ISSUER is not an address alone"),
        ({"oidc_issuer": "https://me:secret@login.example.com"}, "OIDC_ISSUER is not an address alone"),
        ({"oidc_issuer": "https://login.example.com:x"}, "OIDC_ISSUER is no address"),
        ({"public_url": ""}, "PUBLIC_URL is not set"),
        ({"public_url": "http://automata.example.com"}, "PUBLIC_URL is not https"),
        ({"auth": "", "public_url": "http://localhost:8080"}, "nobody has to say who they are"),
        ({"oidc_roles": ("staff",)}, "no VALUE=role"),
        ({"oidc_roles": ("=admin",)}, "no VALUE=role"),
        ({"oidc_roles": ("staff=king",)}, "'king' is no role"),
        ({"oidc_roles": ("staff=viewer", "staff=admin")}, "two roles"),
        ({"oidc_claim": ""}, "OIDC_CLAIM is empty"),
        ({"oidc_name": "x" * 61}, "OIDC_NAME"),
        ({"oidc_session_min": 721}, "OIDC_SESSION_MIN is not 5 to 720"),
    ],
)
def test_settings_that_are_half_there_or_not_safe_are_refused_at_the_start(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(Usage, match=words) as caught:
        config_of(Settings(**GOOD | bad))
    assert "secret" not in str(caught.value)


def test_settings_that_are_whole_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = config_of(Settings(**GOOD))
    assert found is not None
    assert found.redirect_uri == "https://automata.example.com/sign-in/oidc/callback"
    assert found.roles == {"CN=ops,DC=example": Role.ADMIN, "staff": Role.VIEWER}
    assert "secret" not in repr(found)
    assert config_of(Settings(auth="on")) is None
    monkeypatch.setitem(sys.modules, "authlib.oauth2.auth", None)
    with pytest.raises(Usage, match=re.escape("automata-flows[oidc]")):
        provider_of(found)


def test_roles_come_from_a_variable_and_values_with_commas_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "automata.yaml"
    file.write_text("oidc_roles:\n  CN=ops,DC=example: admin\n  staff: viewer\n")
    assert load({"AUTOMATA_CONFIG": str(file)}).oidc_roles == ("CN=ops,DC=example=admin", "staff=viewer")
    assert load({"AUTOMATA_OIDC_ROLES": "staff=viewer, ops=admin"}).oidc_roles == ("staff=viewer", "ops=admin")


def test_a_claim_that_people_may_write_themselves_gives_no_role() -> None:
    config = config_of(Settings(**GOOD | {"oidc_claim": "email", "oidc_roles": ("ada@example.com=admin",)}))
    assert config is not None
    claims = {"sub": "1", "email": "ada@example.com"}
    assert person_of(config, claims | {"email_verified": False}).values == ()
    assert principal_of(config, person_of(config, claims | {"email_verified": True})).role is Role.ADMIN
    assert principal_of(config, person_of(config, claims | {"xms_edov": "1"})).role is Role.ADMIN


def test_keys_that_protect_nothing_are_left_out() -> None:
    def number(bits: int) -> str:
        return base64.urlsafe_b64encode((1 << (bits - 1) | 1).to_bytes(bits // 8)).decode().rstrip("=")

    verifier = Verifier("https://login.example.com", "automata")
    short = {"kty": "RSA", "kid": "short", "e": "AQAB", "n": number(1024)}
    good = short | {"kid": "good", "n": number(2048)}
    for_secrets = good | {"kid": "enc", "use": "enc"}
    assert verifier.keys({"keys": [short, for_secrets, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}, "x"]}) is None
    assert [key.kid for key in verifier.keys({"keys": [short, good]})] == ["good"]
    assert verifier.keys({"keys": "x"}) is None
