# ruff: noqa: RUF001 - the look-alike characters are the attack
"""Deny wins, an allow list is exhaustive, and no spelling of a forbidden host gets through."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from automata.errors import Usage
from automata.steps.contract import TransportError
from automata.steps.policy import EgressPolicy, Rule
from automata.steps.urls import host_port

SSRF_FORMS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.000.000.001/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01:8080/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://127.0.0.1.../",
    "http://good@127.0.0.1/",
    "http://good.example:80@127.0.0.1:8080/",
    "http://good.example%2f@127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://localhost:5432/",
    "http://a.localhost/",
    "http://ip6-localhost/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127%2e0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://0/",
    "http://0.0.0.0/",
    "http://0x0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::1]:8080/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000::0001]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:808:808::80ff:fffe]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.43518/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.google.internal./",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://224.0.0.251/",
    "http://255.255.255.255/",
    "http://240.1.2.3/",
    "http://[ff02::1]/",
    "https://127.0.0.1/",
]

REFUSED_AS_URLS = [
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_INFO", "ftp://127.0.0.1/", "dict://127.0.0.1/",
    "javascript:alert(1)", "http:/127.0.0.1/", "http:127.0.0.1", "//127.0.0.1/", "http://", "http:///127.0.0.1",
    "http://example.com\\@127.0.0.1/",
    "http://example.com:0/", "http://example.com:70000/", "http://exa\tmple.com/", "http://example.com/\r\nHost: evil",
    "http://[::1", "jar:http://127.0.0.1!/", "http://a b.example/", "", "127.0.0.1", "http://\x00127.0.0.1/",
]  # fmt: skip


def refusal(policy: EgressPolicy, url: str) -> TransportError:
    with pytest.raises(TransportError) as caught:
        policy.vet_host(*host_port(url))
    return caught.value


@pytest.mark.parametrize("url", SSRF_FORMS)
def test_no_form_of_a_forbidden_host_passes(url: str) -> None:
    error = refusal(EgressPolicy(), url)
    assert (error.code, error.retryable) == ("egress_denied", False)


@pytest.mark.parametrize("url", REFUSED_AS_URLS)
def test_what_is_no_plain_http_url_is_refused_before_the_policy_is_asked(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        host_port(url)


def test_there_are_enough_forms_to_mean_something() -> None:
    assert len(set(SSRF_FORMS)) >= 60


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/", "http://[::ffff:7f00:1]/"]
)
def test_the_development_switch_opens_loopback_and_nothing_else(url: str) -> None:
    policy = EgressPolicy(allow_loopback=True)
    policy.vet_host(*host_port(url))
    for still in ("http://169.254.169.254/", "http://0.0.0.0/", "http://127.1/", "http://[fe80::1]/"):
        refusal(policy, still)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://192.168.0.1:8080/", "https://api.example.com/", "http://[fd12::1]/"]
)
def test_public_and_private_hosts_are_allowed_by_default(url: str) -> None:
    EgressPolicy().vet_host(*host_port(url))


def test_a_refusal_names_the_address_the_class_and_the_way_out() -> None:
    loopback = refusal(EgressPolicy(), "http://127.0.0.1/").message
    assert_names(loopback, "127.0.0.1", "loopback", "AUTOMATA_ALLOW_LOOPBACK")
    assert "cannot be allowed" in refusal(EgressPolicy(), "http://169.254.169.254/").message
    by_rule = refusal(EgressPolicy(deny=("10.0.0.0/8",)), "http://10.1.2.3/").message
    assert_names(by_rule, "10.1.2.3", "`10.0.0.0/8`", "AUTOMATA_EGRESS_DENY")
    unlisted = refusal(EgressPolicy(allow=("a.example",)), "http://b.example:81/").message
    assert_names(unlisted, "b.example", "81", "AUTOMATA_EGRESS_ALLOW")


def assert_names(message: str, *words: str) -> None:
    assert [word for word in words if word not in message] == []


def resolves(policy: EgressPolicy, host: str, address: str, port: int = 443) -> bool:
    try:
        policy.vet_host(host, port)
        policy.vet_address(ip_address(address), host, port)
    except TransportError:
        return False
    return True


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1", "fd00:ec2::254", "0.0.0.0"]
)
def test_a_name_that_resolves_to_a_forbidden_address_is_refused(address: str) -> None:
    assert not resolves(EgressPolicy(), "innocent.example", address)
    assert resolves(EgressPolicy(), "innocent.example", "93.184.215.14")


def test_an_allow_list_is_exhaustive() -> None:
    policy = EgressPolicy(allow=("*.example.com", "10.0.0.0/8", "hooks.test:8443"))
    assert resolves(policy, "api.example.com", "1.2.3.4")
    assert resolves(policy, "a.b.example.com", "1.2.3.4")
    assert not resolves(policy, "example.com", "1.2.3.4")
    assert not resolves(policy, "example.com.evil.test", "1.2.3.4")
    assert not resolves(policy, "evilexample.com", "1.2.3.4")
    assert resolves(policy, "internal.test", "10.9.8.7")
    assert resolves(policy, "internal.test", "64:ff9b::10.9.8.7")
    assert not resolves(policy, "internal.test", "2002:a09:807::1")
    assert not resolves(policy, "other.test", "11.0.0.1")
    assert resolves(policy, "hooks.test", "1.2.3.4", 8443)
    assert not resolves(policy, "hooks.test", "1.2.3.4", 443)


def test_an_allow_list_never_lifts_a_forbidden_class() -> None:
    policy = EgressPolicy(allow=("*", "0.0.0.0/0", "169.254.169.254", "127.0.0.1"))
    assert not resolves(policy, "a.test", "169.254.169.254")
    assert not resolves(policy, "a.test", "127.0.0.1")
    assert resolves(policy, "a.test", "1.2.3.4")


def test_without_a_network_rule_an_unlisted_name_is_refused_before_its_lookup() -> None:
    refusal(EgressPolicy(allow=("a.example",)), "http://data-to-leak.evil.example/")
    EgressPolicy(allow=("a.example", "10.0.0.0/8")).vet_host("only-its-address-can-tell.example", 80)


def test_deny_wins_over_allow() -> None:
    policy = EgressPolicy(
        allow=("*.example.com", "10.0.0.0/8"), deny=("bad.example.com", "10.6.0.0/16", "*:25", "[fd00::]/8")
    )
    assert resolves(policy, "good.example.com", "10.5.0.1")
    assert not resolves(policy, "bad.example.com", "10.5.0.1")
    assert not resolves(policy, "good.example.com", "10.6.0.1")
    assert not resolves(policy, "good.example.com", "::ffff:10.6.0.1")
    assert not resolves(policy, "good.example.com", "2002:a06:1::")
    assert not resolves(policy, "good.example.com", "fd12::1")
    assert not resolves(policy, "good.example.com", "10.5.0.1", 25)


def test_private_networks_can_be_denied() -> None:
    policy = EgressPolicy(deny=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
    for address in ("10.1.1.1", "172.31.0.1", "192.168.0.1", "fd00::5", "::ffff:192.168.0.1"):
        assert not resolves(policy, "intranet.test", address)


@pytest.mark.parametrize(
    ("text", "port"),
    [("a.example:443", 443), ("10.0.0.0/8:443", 443), ("[fd00::]/8:443", 443), ("[::1]:80", 80),
     ("fd00::/8", None), ("::1", None),
     ("10.1.2.3", None), ("*", None), ("*:25", 25)],
)  # fmt: skip
def test_a_rule_takes_a_port(text: str, port: int | None) -> None:
    assert Rule.parse(text).port == port


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ":443",
        "a b",
        "https://a.example",
        "a.example/x",
        "10.0.0.0/33",
        "a:0",
        "a:99999",
        "[a-z].test",
        "a?.test",
    ],
)
def test_a_rule_that_cannot_be_read_stops_the_start(text: str) -> None:
    with pytest.raises(Usage):
        EgressPolicy(deny=(text,))


def test_an_environment_narrows_the_workers_lists_and_widens_nothing() -> None:
    worker = EgressPolicy(allow=("*.example.com",), deny=("bad.example.com",))
    both = worker.narrowed(("api.example.com", "other.test"), ("10.0.0.0/8",))
    assert both.vet_host("api.example.com", 443) == "api.example.com"
    for host, words in (
        ("crm.example.com", "`egress.allow` of the environment"),
        ("other.test", "AUTOMATA_EGRESS_ALLOW"),
        ("bad.example.com", "AUTOMATA_EGRESS_DENY"),
        ("127.0.0.1", "loopback"),
    ):
        with pytest.raises(TransportError, match=words):
            both.vet_host(host, 443)
    with pytest.raises(TransportError, match=r"`egress.deny` of the environment"):
        both.vet_address(ip_address("10.1.2.3"), "api.example.com", 443)
    with pytest.raises(TransportError, match="mapped"):
        both.vet_address(ip_address("::ffff:169.254.169.254"), "api.example.com", 443)
