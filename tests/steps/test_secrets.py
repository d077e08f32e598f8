"""Where secrets come from, and that no written form of one passes the mask."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from automata.errors import Usage
from automata.steps.secrets import MAX_BYTES, load_secrets, masker

SECRET = 'pä/ss+"w&rd=1\\x'


def test_the_environment_wins_over_the_mounted_folder(tmp_path: Path) -> None:
    (tmp_path / "TOKEN").write_text("from folder\n")
    (tmp_path / "OTHER").write_text("other\n")
    (tmp_path / "not a name").write_text("x")
    (tmp_path / "..data").mkdir()
    env = {"AUTOMATA_SECRETS_DIR": str(tmp_path), "AUTOMATA_SECRET_TOKEN": "from env", "TOKEN": "no"}
    assert load_secrets(env) == {"TOKEN": "from env", "OTHER": "other"}


def test_a_folder_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot be read"):
        load_secrets({"AUTOMATA_SECRETS_DIR": str(tmp_path / "none")})
    (tmp_path / "BIG").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(Usage, match="larger"):
        load_secrets({"AUTOMATA_SECRETS_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps({"deep": [SECRET]}, ensure_ascii=False),
    ],
)
def test_every_written_form_is_masked(written: str) -> None:
    masked = masker({"S": SECRET})(f"before {written} after")
    assert "***" in masked
    assert "before" in masked
    assert "after" in masked
    assert "w&rd" not in masked
    assert "w%26rd" not in masked


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "someone else:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_masked_at_each_alignment(before: str, encode: object) -> None:
    assert callable(encode)
    text = encode(f"{before}{SECRET}:tail".encode()).decode()
    left = masker({"S": SECRET})(text)
    assert "***" in left
    # The mask itself, padding, and the characters at the two seams that the neighbours share.
    assert len(left) <= len(text) - len(base64.b64encode(SECRET.encode())) + 8


def test_a_secret_that_contains_another_is_replaced_whole() -> None:
    assert masker({"A": "abcd", "B": "abcdefgh"})("abcdefgh abcd") == "*** ***"


def test_values_too_short_to_mask_do_not_blank_texts_out() -> None:
    assert masker({"A": "a", "B": ""})("banana") == "banana"
