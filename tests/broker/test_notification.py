"""What goes over a wire is small, and read as if a stranger had written it."""

from __future__ import annotations

import json
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automata.broker.notification import MAX_BYTES, MAX_IDS, MalformedNotification, decode, encode


def test_a_large_batch_is_split_by_count_and_nothing_is_lost_or_reordered() -> None:
    ids = [str(uuid4()) for _ in range(10 * MAX_IDS + 1)]
    bodies = list(encode("runs.pending", ids))
    assert len(bodies) == 11
    assert [name for body in bodies for name in decode(body).ids] == ids
    assert {decode(body).topic for body in bodies} == {"runs.pending"}


def test_long_ids_are_split_by_bytes() -> None:
    ids = [f"{n:03}{'x' * 197}" for n in range(MAX_IDS)]
    bodies = list(encode("runs.pending", ids))
    assert len(bodies) > 1
    assert all(len(body) <= MAX_BYTES for body in bodies)
    assert [name for body in bodies for name in decode(body).ids] == ids


def test_a_ring_without_ids_is_one_message() -> None:
    assert [decode(body) for body in encode("tasks.ready.gpu", [])] == [("tasks.ready.gpu", ())]


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 201, "a\n", "é", '"', "\x00"])
def test_what_is_no_id_is_left_out_and_the_topic_is_still_notified(name: str) -> None:
    assert [decode(body).ids for body in encode("runs.pending", [name])] == [()]
    assert [decode(body).ids for body in encode("runs.pending", [name, "good"])] == [("good",)]


@pytest.mark.parametrize("topic", ["", "Runs", "a b", "x" * 201, "runs\n"])
def test_what_is_no_topic_is_not_sent(topic: str) -> None:
    assert list(encode(topic, ["a"])) == []


HOSTILE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "not utf-8": b'{"topic":"runs.pending","ids":["\xff"]}',
    "too big": b'{"topic":"runs.pending","ids":[' + b'"a",' * 2000 + b'"a"]}',
    "too deep": b"[" * 3900 + b"]" * 3900,
    "a list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "lacks ids": b'{"topic":"runs.pending"}',
    "one key more": b'{"topic":"runs.pending","ids":[],"run":{}}',
    "topic no text": b'{"topic":1,"ids":[]}',
    "topic no name": b'{"topic":"; DROP TABLE runs","ids":[]}',
    "ids no list": b'{"topic":"runs.pending","ids":"abc"}',
    "an id no text": b'{"topic":"runs.pending","ids":[1]}',
    "an id nested": b'{"topic":"runs.pending","ids":[["a"]]}',
    "an id empty": b'{"topic":"runs.pending","ids":[""]}',
    "an id with a newline": b'{"topic":"runs.pending","ids":["a\\nb"]}',
    "an id too long": orjson.dumps({"topic": "runs.pending", "ids": ["x" * 201]}),
    "too many ids": orjson.dumps({"topic": "runs.pending", "ids": ["a"] * (MAX_IDS + 1)}),
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_payload_is_refused_and_not_quoted(body: bytes) -> None:
    with pytest.raises(MalformedNotification) as refusal:
        decode(body)
    assert "DROP" not in str(refusal.value)


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_make_the_reader_fail_in_another_way(body: bytes) -> None:
    with pytest.raises(MalformedNotification):
        decode(body)
