"""Messages of clients: JSON, commands and ids, the sizes of batch items (protocol.md, sections 3 and 4)."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.oracle import batch_item_sizes
from valtronics_fast._core.commands import item_sizes, parse
from valtronics_fast._core.wire import ErrorCode

INVALID_JSON, INVALID_MESSAGE = ErrorCode.INVALID_JSON, ErrorCode.INVALID_MESSAGE
COMMANDS = ["auth", "subscribe", "unsubscribe", "ping", "batch", "publish", "error_report"]

SPACES = ["", "", "", " ", "\n", "\t \r\n"]
SOURCES = st.integers(0, 2**32).map(Random)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text())
KEYS = st.text() | st.sampled_from(["type", "messages", "id", 'a"b', "\\"])
VALUES = st.recursive(
    SCALARS | st.sampled_from(["batch", "auth", "[,]", '{"', "\\", '"', "]}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
# Members with the same key are wanted, so an object is a list of pairs here.
MEMBER = st.one_of(
    st.tuples(st.just("messages"), st.lists(VALUES, max_size=6)),
    st.tuples(st.just("type"), st.sampled_from(["batch", "batch", "auth", "ping"])),
    st.tuples(KEYS.filter(lambda key: key not in {"type", "messages"}), VALUES),
)


def escaped(char: str, source: Random) -> str:
    units = char.encode("utf-16-be").hex(" ", 2).split()
    return "".join(f"\\u{source.choice([unit, unit.upper()])}" for unit in units)


def rendered(value: object, source: Random) -> str:
    """Return JSON with white space wherever there may be some, and escapes in strings."""
    if isinstance(value, str) and source.random() < 0.3:
        plain = {char: json.dumps(char, ensure_ascii=False)[1:-1] for char in value}
        chars = [escaped(char, source) if source.random() < 0.3 else plain[char] for char in value]
        return '"' + "".join(chars) + '"'
    if isinstance(value, list):
        items = [source.choice(SPACES) + rendered(item, source) + source.choice(SPACES) for item in value]
        return "[" + ",".join(items) + source.choice(SPACES) + "]"
    if isinstance(value, dict):
        return object_of(list(value.items()), source)
    return json.dumps(value, ensure_ascii=source.random() < 0.5)


def object_of(members: list[tuple[str, Any]], source: Random) -> str:
    parts = []
    for key, value in members:
        pieces = rendered(key, source), ":", rendered(value, source)
        parts.append("".join(source.choice(SPACES) + piece for piece in pieces) + source.choice(SPACES))
    return source.choice(SPACES) + "{" + ",".join(parts) + source.choice(SPACES) + "}" + source.choice(SPACES)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def is_id(value: object) -> bool:
    """Say whether a value is an id to echo: a string of up to 64 bytes, or an integer of 64 bits."""
    if isinstance(value, str):
        return len(value.encode()) <= 64
    return type(value) is int and -(2**63) <= value < 2**63


def expected(message: dict[str, Any]) -> tuple[dict[str, Any] | None, int | None]:
    if "type" not in message:
        return None, ErrorCode.MISSING_TYPE
    if not isinstance(message["type"], str):
        return None, INVALID_MESSAGE
    if message["type"] not in COMMANDS:
        return None, ErrorCode.UNKNOWN_TYPE
    return (message, None) if is_id(message.get("id", 0)) else (None, INVALID_MESSAGE)


IDS = st.one_of(
    st.builds(str.__mul__, st.sampled_from(["x", "\u00e9"]), st.integers(31, 66)),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64 - 1]),
    VALUES,
)
FIELDS = {"type": st.sampled_from(COMMANDS) | st.sampled_from(COMMANDS) | SCALARS, "id": IDS, "x": VALUES}


@given(
    st.fixed_dictionaries({}, optional=FIELDS),
    SOURCES,
)
def test_valid_json_is_understood(message: dict[str, Any], source: Random) -> None:
    text = rendered(message, source).encode()
    depth = depth_of(message)
    assert parse(text, max_depth=depth) == expected(message)
    assert parse(text, max_depth=depth - 1) == (None, INVALID_MESSAGE)


@given(st.one_of(st.binary(), st.text().map(str.encode), st.text('{}[]",:\\ tyepbachmsgu0').map(str.encode)))
@example(b'{"type":"batc\\')
@example(b'{"messag\\')
@example(b'{"type":"ping"')
@example(b'"\\')
@example(b"]]]]")
def test_any_bytes_get_an_answer(text: bytes) -> None:
    message, error = parse(text)
    if message is None:
        assert error in {INVALID_JSON, INVALID_MESSAGE, ErrorCode.MISSING_TYPE, ErrorCode.UNKNOWN_TYPE}
    else:
        assert error is None
        assert message == json.loads(text)
    sizes = item_sizes(text)
    assert sizes is None or all(isinstance(size, int) for size in sizes)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b'{"type":"ping"',
        b'{"type":"ping"}x',
        b'{"type":"ping"}{"type":"ping"}',
        b'{"type":"ping",}',
        b"{'type':'ping'}",
        b'{"type":"ping"/**/}',
        b'\xef\xbb\xbf{"type":"ping"}',                     # a byte order mark
        '{"type":"ping"}'.encode("utf-16"),
        b'{"type":"ping","id":NaN}',
        b'{"type":"ping","x":Infinity}',
        b'{"type":"ping","x":-Infinity}',
        b'{"type":"ping","x":1e400}',
        b'{"type":"ping","x":01}',
        b'{"type":"ping","x":"\\ud800"}',                   # half of a surrogate pair
        b'{"type":"ping","id":"\\udc00\\ud800"}',
        b'{"type":"ping","x":"\xed\xa0\x80"}',
        b'{"type":"ping","x":"\xff"}',
        b'{"type":"ping","x":"\0"}',
        b'{"type":"ping","x":"a\nb"}',
    ],
)
def test_what_is_not_json(text: bytes) -> None:
    assert parse(text) == (None, INVALID_JSON)


@pytest.mark.parametrize(
    "text", [b"[]", b"null", b"5", b'"ping"', b"true", b'[{"type":"ping"}]', b'["type","ping"]']
)
def test_a_message_is_an_object(text: bytes) -> None:
    assert parse(text) == (None, INVALID_MESSAGE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_protocol_is_known(command: str) -> None:
    assert parse(b'{"type":"%s"}' % command.encode()) == ({"type": command}, None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ('""', ErrorCode.UNKNOWN_TYPE),
        ('"PING"', ErrorCode.UNKNOWN_TYPE),
        ('"ping "', ErrorCode.UNKNOWN_TYPE),
        ('"ping\\u0000"', ErrorCode.UNKNOWN_TYPE),
        ('"telemetry_update"', ErrorCode.UNKNOWN_TYPE),
        ("5", INVALID_MESSAGE),
        ("true", INVALID_MESSAGE),
        ('["ping"]', INVALID_MESSAGE),
        ("{}", INVALID_MESSAGE),
    ],
)
def test_other_types(kind: str, error: int) -> None:
    assert parse(f'{{"type":{kind}}}'.encode()) == (None, error)
    assert parse(b'{"Type":"ping"}') == (None, ErrorCode.MISSING_TYPE)


@pytest.mark.parametrize(
    "id",
    ["", "a", "x" * 64, "\u00e9" * 32, "\U0001f321" * 16, "\0", 0, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    ids=repr,
)
def test_an_id_is_kept_exactly(id: object) -> None:  # noqa: A002 - its name on the wire
    message, error = parse(json.dumps({"type": "ping", "id": id}).encode())
    assert error is None
    assert message is not None
    assert (message["id"], type(message["id"])) == (id, type(id))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps("x" * 65), json.dumps("\u00e9" * 32 + "x"), "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "-9223372036854775809", "1" + "0" * 300, "1.0", "1e2", "true", "false",
        "[]", "[1]", "{}",
    ],
)  # fmt: skip
def test_other_ids(text: str) -> None:
    assert parse(f'{{"type":"ping","id":{text}}}'.encode()) == (None, INVALID_MESSAGE)


def test_of_members_with_the_same_key_the_last_counts() -> None:
    assert parse(b'{"type":"auth","id":1,"type":"ping","id":2}') == ({"type": "ping", "id": 2}, None)
    assert parse(b'{"type":"ping","type":5}') == (None, INVALID_MESSAGE)
    assert parse(b'{"type":"auth","typ\\u0065":"ping"}') == ({"type": "ping"}, None)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}")])
def test_messages_are_nested_16_deep_at_most(opening: str, closing: str) -> None:
    for levels, deep in ((15, False), (16, True), (1000, True), (100_000, True)):
        text = '{"type":"ping","x":' + opening * levels + "0" + closing * levels + "}"
        assert (parse(text.encode()) == (None, INVALID_MESSAGE)) is deep
    unfinished = '{"type":"ping","x":' + opening * 16
    assert parse(unfinished.encode()) == (None, INVALID_MESSAGE)


def test_brackets_in_strings_are_not_nesting() -> None:
    text = json.dumps({"type": "ping", "x": "[{" * 100 + '"[[' * 20, "[" * 40: 1}).encode()
    assert parse(text) == (json.loads(text), None)


def test_nesting_counts_in_what_a_later_member_replaces() -> None:
    for later in ("1", "[]"):
        text = '{"type":"ping","x":' + "[" * 16 + "]" * 16 + f',"x":{later}}}'
        assert parse(text.encode()) == (None, INVALID_MESSAGE)


@given(st.lists(MEMBER, max_size=5), SOURCES)
def test_the_sizes_of_items(members: list[tuple[str, Any]], source: Random) -> None:
    text = object_of(members, source).encode()
    reference = batch_item_sizes(text)
    assert item_sizes(text, 1000) == reference
    assume(reference is not None)
    assert item_sizes(text, 2) == (reference or [])[:2]
    assert item_sizes(text, 0) == []


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ('{"type":"batch","messages":[]}', []),
        ('{"type":"batch","messages":[ ]}', []),
        ('{"type":"batch"}', []),
        ('{"type":"batch","messages":[{},{"a":[1,2]},"x,y]",5,null]}', [2, 11, 6, 1, 4]),
        ('{"messages":[[],[[]]],"type":"batch"}', [2, 4]),
        ('{"type":"batch","messages":[ {"x":1} , "\u00e9" ]}', [7, 4]),
        ('{"type":"batch","messages":["\\"","\\\\"]}', [4, 4]),
        ('{"type":"batch","messages":[1,2,3],"messages":[]}', []),
        ('{"type":"batch","x":[1,2,3],"messages":[1],"y":[5,6,7]}', [1]),
        ('{"type":"batch","x":{"messages":[1,2,3]},"messages":[{"messages":[1,2]}]}', [18]),
        ('{"type":"subscribe","messages":[1]}', None),
        ('{"type":"batch","type":"subscribe","messages":[1]}', None),
        ('{"x":{"type":"batch"},"messages":[1]}', None),
        ('{"x":"type","y":"batch","messages":[1]}', None),
        ("{}", None),
    ],
)
def test_sizes_of_known_batches(text: str, sizes: list[int] | None) -> None:
    assert item_sizes(text.encode()) == sizes
    assert batch_item_sizes(text.encode()) == sizes


@pytest.mark.parametrize("kind", ["5", "null", "[]", "{}", '"ping"', '"b\\u0061tch "'])
@pytest.mark.parametrize("key", ["type", "typ\\u0065", "\\u0074\\u0079\\u0070\\u0065"])
def test_a_batch_whose_type_is_replaced_is_none(key: str, kind: str) -> None:
    assert item_sizes(f'{{"type":"batch","messages":[1],"{key}":{kind}}}'.encode()) is None


@pytest.mark.parametrize("key", ["m\\u0065ssages", "\\u006d\\u0065ssages", "\\u006Dessages"])
def test_no_spelling_of_the_keys_hides_a_large_item(key: str) -> None:
    text = f'{{"type":"batch","messages":[{{}},{{}}],"{key}":[{{}},{{"x":"{"x" * 2000}"}}]}}'.encode()
    message, _ = parse(text)
    assert message == {"type": "batch", "messages": [{}, {"x": "x" * 2000}]}
    assert item_sizes(text) == [2, 2008]


@pytest.mark.parametrize("key", ["m\\u0064ssages", "M\\u0065ssages", "m\\u0165ssages", "messages\\u0000"])
def test_other_keys_are_not_taken_for_the_items(key: str) -> None:
    assert item_sizes(f'{{"type":"batch","messages":[1,22],"{key}":[1,2,3]}}'.encode()) == [1, 2]
