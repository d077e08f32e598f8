"""Where secrets come from, and that no written form of one passes the mask."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from yarl import URL

from automata.errors import Unavailable, Usage
from automata.steps import secrets as module
from automata.steps.secrets import MAX_BYTES, Secrets, load_secrets, masker, open_secrets
from automata.steps.urls import parse_url

SECRET = 'pä/ss+"w&rd=1\\x'


def test_the_environment_wins_over_the_mounted_folder(tmp_path: Path) -> None:
    (tmp_path / "TOKEN").write_text("from folder\n")
    (tmp_path / "OTHER").write_text("other\n")
    (tmp_path / "not a name").write_text("x")
    (tmp_path / "..data").mkdir()
    env = {"AUTOMATA_SECRETS_DIR": str(tmp_path), "AUTOMATA_SECRET_TOKEN": "from env", "TOKEN": "no"}
    assert load_secrets(env) == {"TOKEN": "from env", "OTHER": "other"}


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "EMPTY").write_text("")
    (tmp_path / "LINE").write_text("\n")
    (tmp_path / "ELSEWHERE").write_text("x")
    env = {"AUTOMATA_SECRETS_DIR": str(tmp_path), "AUTOMATA_SECRET_BLANK": "", "AUTOMATA_SECRET_ELSEWHERE": ""}
    known = load_secrets(env)
    assert dict(known) == {"ELSEWHERE": "x"}
    assert not {"EMPTY", "LINE", "BLANK"} & known.keys()


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
        json.dumps(SECRET).replace("/", "\\/"),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        html.escape(SECRET),
        ascii(SECRET),
        str(URL.build(path="/", query={"a": SECRET})),
        str(URL.build(path=f"/{SECRET}/x")),
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


async def test_a_mount_of_kubernetes_is_links_and_a_new_version_is_read_at_the_next_use(tmp_path: Path) -> None:
    def version(name: str, value: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "TOKEN").write_text(value)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    version("..2026_01", "first value")
    (tmp_path / "TOKEN").symlink_to("..data/TOKEN")
    secrets = Secrets(load_secrets({"AUTOMATA_SECRETS_DIR": str(tmp_path)}))
    names = frozenset({"TOKEN"})
    assert await secrets.read(names) == {"TOKEN": "first value"}
    version("..2026_02", "second value")
    assert await secrets.read(names) == {"TOKEN": "second value"}
    assert secrets.mask("first value, second value") == "***, ***"
    (tmp_path / "TOKEN").unlink()
    assert await secrets.read(names) == {}


def test_a_file_that_turns_bad_fails_the_step_and_shows_nothing_of_it(tmp_path: Path) -> None:
    file = tmp_path / "TOKEN"
    file.write_text("good")
    local = load_secrets({"AUTOMATA_SECRETS_DIR": str(tmp_path)})
    for bad in (b"\xff secret bytes", b"x" * (MAX_BYTES + 1)):
        file.write_bytes(bad)
        with pytest.raises(Unavailable) as caught:
            local["TOKEN"]
        assert "secret bytes" not in str(caught.value)
    assert "../TOKEN" not in local


class Safe:
    """A provider as a package would bring it."""

    name = "the safe"

    async def get(self, name: str) -> str | None:
        if name == "BROKEN":
            raise ValueError("of the value s3cr3t")
        if name == "SLOW":
            await asyncio.sleep(60)
        return {"TOKEN": "from the safe", "NUMBER": 7}.get(name)  # type: ignore[return-value]

    async def close(self) -> None:
        """Nothing is open."""


class NoSafe:
    name = "none"


def point(name: str) -> EntryPoint:
    return EntryPoint("safe", f"{__name__}:{name}", module.GROUP_NAME)


async def test_a_package_may_bring_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.value.partition(":")[2]])
    monkeypatch.setattr(module, "PROVIDER_SEC", 0.05)
    secrets = open_secrets({"AUTOMATA_SECRET_HERE": "of the environment"}, [point("Safe")])

    wanted = frozenset({"TOKEN", "HERE", "NONE"})
    assert await secrets.read(wanted) == {"TOKEN": "from the safe", "HERE": "of the environment"}
    assert secrets.mask("from the safe") == "***"
    for name, why in (("BROKEN", "raised ValueError"), ("SLOW", "no answer"), ("NUMBER", "no text")):
        with pytest.raises(Unavailable, match=why) as caught:
            await secrets.read(frozenset({name}))
        assert "s3cr3t" not in str(caught.value)
    with pytest.raises(Usage, match="async def get"):
        open_secrets({}, [point("NoSafe")])


def test_a_value_longer_than_a_pattern_is_masked_too() -> None:
    key = "-----BEGIN KEY-----\n" + "q8/Z+" * 2000
    mask = masker({"KEY": key, "S": SECRET})
    for text in (key, json.dumps(key), quote(key, safe=""), base64.b64encode(key.encode()).decode()):
        assert "q8/Z" not in mask(f"a {text} b {SECRET}")


def test_text_that_utf8_cannot_carry_passes_the_mask() -> None:
    assert masker({"S": "s3cr3t"})("\ud800 s3cr3t") == "\ud800 ***"


@pytest.mark.parametrize(
    "secret", ['p ä|[x]"<z>', "a%2Fb [c]", "50% {of} it", "a%2Fb 100% |", "it's `a` ^ 'b'", "+a b+[&]"]
)
@pytest.mark.parametrize("place", ["https://a.test/{}/x", "https://a.test/?k={}&x=1", "https://{}@a.test/"])
def test_a_secret_in_an_address_is_masked_as_it_is_sent(secret: str, place: str) -> None:
    sent = str(parse_url(place.format(secret if "@" not in place else quote(secret, safe=""))))
    assert masker({"S": secret})(sent) == place.format("***")
