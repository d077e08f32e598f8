"""Spellings of hosts, and what hides in an address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from automata.steps.addresses import address_class, forms, name_class, parse_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("a_b.internal", "a_b.internal"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("3com.example", "3com.example"),
        ("8.8.8.8", ip_address("8.8.8.8")),
        ("8.8.8.8.", ip_address("8.8.8.8")),
        ("2606:4700::1", ip_address("2606:4700::1")),
    ],
)
def test_a_host_has_one_canonical_form(host: str, expected: object) -> None:
    assert parse_host(host) == expected


@pytest.mark.parametrize(
    "host",
    ["0x7f.1", "127.1", "2130706433", "0177.0.0.1", "127.0.0.01", "0x7f000001", "1.2.3.4.5", "256.1.1.1", "0x", "a.1",
     "a.0x7f"],
)  # fmt: skip
def test_a_number_that_is_no_plain_dotted_quad_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="usual spelling"):
        parse_host(host)


@pytest.mark.parametrize(
    "host", ["", ".", "a..b", "-a.com", "a b", "a/b", "exa%6dple.com", "fe80::1%eth0", ":::", "ü.de"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|address"):
        parse_host(host)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("169.254.0.1", "link-local"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fd00:42::42", "metadata"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("100::1", "reserved"),
        ("64:ff9b:1::1", "NAT64"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:a9fe:a9fe", "IPv4-mapped"),
        ("::ffff:0:127.0.0.1", "IPv4-translated"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("2002:7f00:1::", "6to4"),
        ("2002:a9fe:a9fe::1", "6to4"),
        ("64:ff9b::169.254.169.254", "NAT64"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("2001:0:7f00:1::", "Teredo server"),
        ("2001:0:808:808::80ff:fffe", "Teredo client"),
        ("2606:4700::5efe:127.0.0.1", "ISATAP"),
        ("2606:4700::200:5efe:127.0.0.1", "ISATAP"),
    ],
)
def test_an_address_that_steps_may_not_call_is_classed(address: str, word: str) -> None:
    assert word in (address_class(ip_address(address)) or "")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.253.255.255", "2606:4700::1111", "fd12::1",
     "64:ff9b::808:808", "2002:808:808::1", "::ffff:10.0.0.1"],
)  # fmt: skip
def test_public_and_private_addresses_have_no_denied_class(address: str) -> None:
    assert address_class(ip_address(address)) is None


def test_the_address_itself_is_its_first_form() -> None:
    assert next(forms(ip_address("::1"))) == ("", ip_address("::1"))
    assert list(forms(ip_address("1.2.3.4"))) == [("", ip_address("1.2.3.4"))]


def test_names_that_stand_for_a_denied_class_are_known_without_a_lookup() -> None:
    assert name_class("localhost") == name_class("a.b.localhost") == "loopback"
    assert "metadata" in (name_class("metadata.google.internal") or "")
    assert name_class("localhost.example.com") is None
