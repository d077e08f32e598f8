"""Signatures on cookies and forms: for one purpose, of one secret, and one text alone."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from automata.access.signing import Signatures

SECRET = b"k" * 32


@pytest.fixture
def signatures() -> Signatures:
    return Signatures(SECRET)


def test_a_signature_is_the_hmac_that_earlier_versions_made(signatures: Signatures) -> None:
    made = hmac.new(SECRET, b"session bits", hashlib.sha256).digest()
    assert signatures.sign("session", "bits") == base64.urlsafe_b64encode(made).decode().rstrip("=")


def test_a_signature_is_of_one_purpose_one_text_and_one_secret(signatures: Signatures) -> None:
    signature = signatures.sign("session", "bits")
    assert signatures.fits(signature, "session", "bits")
    assert not signatures.fits(signature, "csrf", "bits")
    assert not signatures.fits(signature, "session", "bitz")
    assert not Signatures(b"l" * 32).fits(signature, "session", "bits")


@pytest.mark.parametrize("suffix", ["=", " ", "\n", "A", "\ud800"])
def test_a_longer_text_that_decodes_to_the_same_bytes_is_no_signature(signatures: Signatures, suffix: str) -> None:
    assert not signatures.fits(signatures.sign("session", "bits") + suffix, "session", "bits")


def test_another_last_letter_that_decodes_to_the_same_bytes_is_no_signature(signatures: Signatures) -> None:
    signature = signatures.sign("session", "bits")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [
        signature[:-1] + letter
        for letter in letters
        if base64.urlsafe_b64decode(signature[:-1] + letter + "=") == base64.urlsafe_b64decode(signature + "=")
    ]
    assert len(same) == 4
    assert [text for text in same if signatures.fits(text, "session", "bits")] == [signature]


@pytest.mark.parametrize("text", ["", "ü", "\ud800", "a" * 100_000])
def test_any_text_of_a_request_can_be_looked_at(signatures: Signatures, text: str) -> None:
    assert signatures.fits(signatures.sign("session", text), "session", text)
    assert not signatures.fits(text, "session", text)
