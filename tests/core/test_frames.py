"""Reassembly, UTF-8 and CLOSE payloads against RFC 6455 in plain Python."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.oracle import MessageModel, begins_text, is_text
from valtronics_fast._core.frames import VERDICTS, FrameAssembler, close_code, is_utf8

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

TEXTS = ["", "x", "plain ASCII, longer than eight bytes", "\u00e9", "\u0800\uffff", "\U00010000\U0010ffff",
         "\ud7ff\ue000", "a\u20ac" * 9, "1234567\u20ac", "12345678\u20ac12345678",
         "\0\x7f\u0080\u07ff"]  # fmt: skip
# The first and last byte of every row of the Unicode Standard's table 3-7, and their neighbours.
EDGES = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
PIECES = st.one_of(
    st.sampled_from([b"", b"abc", b"\xe2", b"\x82", b"\xac", b"\xe2\x82\xac", b"\xf0\x9f", b"\x8c\xa1"]),
    st.text(max_size=6).map(str.encode),
    st.text(max_size=6).map(str.encode),
    st.binary(max_size=6),
)
Frame = tuple[int, bool, bytes, bool]
RESERVED = st.sampled_from([False, False, True])
STRAY = st.tuples(st.integers(0, 15), st.booleans(), PIECES, RESERVED)


@st.composite
def frame_lists(draw: st.DrawFn) -> list[Frame]:
    """Draw messages in fragments with control frames between them, and perhaps one stray frame."""
    frames: list[Frame] = []
    for opcode in draw(st.lists(st.sampled_from([TEXT, TEXT, BINARY]), min_size=1, max_size=6)):
        parts = draw(st.lists(PIECES, min_size=1, max_size=6))
        for i, part in enumerate(parts):
            frames.append((CONTINUATION if i else opcode, i == len(parts) - 1, part, False))
            if draw(st.integers(0, 4)) == 0:
                payload = draw(PIECES | st.sampled_from([b"p" * 125, b"p" * 126]))
                frames.append((draw(st.sampled_from([CLOSE, PING, PONG])), True, payload, False))
    if draw(st.booleans()):
        frames.insert(draw(st.integers(0, len(frames))), draw(STRAY))
    return frames


@settings(max_examples=500)
@given(st.just(0) | st.integers(0, 40), st.just(0) | st.integers(0, 5), frame_lists())
@example(6, 0, [(1, False, b"abc", False), (9, True, b"", False), (0, True, b"def", False)])
@example(0, 2, [(2, False, b"", False), (0, False, b"", False), (0, True, b"", False)])
@example(0, 0, [(1, False, b"\xe2", False), (10, True, b"\xff", False), (0, True, b"\x82\xac", False)])
def test_it_agrees_with_the_oracle(max_size: int, max_fragments: int, frames: list[Frame]) -> None:
    assembler, model = FrameAssembler(max_size, max_fragments), MessageModel(max_size, max_fragments)
    for frame in frames:
        expected = model.feed(*frame)
        assert assembler.feed(*frame) == expected
        if isinstance(expected[0], int):
            break                                   # the connection ends here


PARTS = st.lists(st.text(max_size=30), min_size=1, max_size=8)


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), PARTS)))
def test_fragmented_messages_come_out_whole(messages: list[tuple[int, list[str]]]) -> None:
    assembler = FrameAssembler()
    for opcode, parts in messages:
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            verdict, message = assembler.feed(CONTINUATION if i else opcode, last, part.encode())
            if not last:
                assert (verdict, message) == ("more", None)
                assert assembler.feed(PING, True, b"between") == ("ping", b"between")
        assert (verdict, message) == ("text" if opcode == TEXT else "binary", "".join(parts).encode())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_may_be_split_at_every_byte(text: str) -> None:
    data = text.encode()
    assembler = FrameAssembler()
    for at in range(len(data) + 1):
        assert assembler.feed(TEXT, False, data[:at]) == ("more", None)
        assert assembler.feed(PONG, True, b"") == ("pong", b"")
        assert assembler.feed(CONTINUATION, True, data[at:]) == ("text", data)
        assert is_utf8([data[:at], data[at:]])
    assert is_utf8([data[i : i + 1] for i in range(len(data))])
    assert is_utf8([data])


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_may_not_end_inside_a_character(text: str) -> None:
    data = text.encode()
    for at in range(len(data) + 1):
        whole = is_text(data[:at])
        assert is_utf8([data[:at]]) is whole
        assert FrameAssembler().feed(TEXT, True, data[:at])[0] == ("text" if whole else 1007)
        assembler = FrameAssembler()
        assert assembler.feed(TEXT, False, data[:at]) == ("more", None)
        assert assembler.feed(CONTINUATION, True, b"")[0] == ("text" if whole else 1007)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_utf8_at_the_edges_of_every_range(length: int) -> None:
    for values in itertools.product(EDGES, repeat=length):
        data = bytes(values)
        assert is_utf8([data]) is is_text(data), data
        assert is_utf8([data[:1], data[1:]]) is is_text(data), data
        begun = FrameAssembler().feed(TEXT, False, data)[0] == "more"
        assert begun is begins_text(data), data


def test_utf8_of_four_bytes_at_the_edges() -> None:
    for values in itertools.product(EDGES[EDGES.index(0xEF) :], EDGES, EDGES, EDGES):
        data = bytes(values)
        assert is_utf8([data]) is is_text(data), data


CHUNKS = st.one_of(st.binary(max_size=12), st.text(max_size=12).map(str.encode), st.just(b"x" * 9))


@given(st.lists(CHUNKS, max_size=6))
def test_utf8_in_chunks(chunks: list[bytes]) -> None:
    assert is_utf8(chunks) is is_text(b"".join(chunks))


@pytest.mark.parametrize("at", range(20))
def test_one_bad_byte_is_found_wherever_it_is(at: int) -> None:
    data = bytearray(b"x" * 20)
    data[at] = 0xFF
    assert not is_utf8([bytes(data)])
    data[at : at + 1] = b"\xc3\xa9"
    assert is_utf8([bytes(data)])


def test_binary_messages_need_not_be_text() -> None:
    assembler = FrameAssembler()
    assert assembler.feed(BINARY, True, b"\xff") == ("binary", b"\xff")
    assert assembler.feed(BINARY, False, b"\xff") == ("more", None)
    assert assembler.feed(CONTINUATION, True, b"\xfe") == ("binary", b"\xff\xfe")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_the_greatest_size(opcode: int) -> None:
    data = b"x" * 1024
    assembler = FrameAssembler(max_size=1024)
    assert assembler.feed(opcode, True, data)[1] == data
    for part in (data[:1000], b""):
        assert assembler.feed(CONTINUATION if not part else opcode, False, part) == ("more", None)
    assert assembler.feed(CONTINUATION, True, data[1000:])[1] == data
    assert assembler.feed(opcode, True, data + b"x") == (1009, None)
    assembler = FrameAssembler(max_size=1024)
    assert assembler.feed(opcode, False, data) == ("more", None)
    assert assembler.feed(CONTINUATION, True, b"x") == (1009, None)


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_message_has_64_fragments_at_most(payload: bytes) -> None:
    for count in (64, 65):
        assembler = FrameAssembler(max_fragments=64)
        frames = [(CONTINUATION if i else TEXT, i == count - 1, payload) for i in range(count)]
        assert [assembler.feed(*frame)[0] for frame in frames[:63]] == ["more"] * 63
        if count == 64:
            assert assembler.feed(*frames[63]) == ("text", payload * 64)
            assert assembler.feed(TEXT, False, b"next") == ("more", None)   # counted anew
        else:
            assert [assembler.feed(*frame)[0] for frame in frames[63:]] == ["more", 1009]


def test_without_bounds_anything_goes() -> None:
    assembler = FrameAssembler()
    assert assembler.feed(BINARY, False, b"x" * 2**20) == ("more", None)
    for _ in range(1000):
        assert assembler.feed(CONTINUATION, False, b"y") == ("more", None)
    assert assembler.feed(CONTINUATION, True, b"") == ("binary", b"x" * 2**20 + b"y" * 1000)


@pytest.mark.parametrize(
    "frames",
    [
        [(CONTINUATION, True, b"")],
        [(CONTINUATION, False, b"")],
        [(TEXT, False, b""), (TEXT, True, b"")],
        [(TEXT, False, b""), (BINARY, True, b"")],
        [(TEXT, True, b"x"), (CONTINUATION, True, b"")],
        *([(opcode, True, b"")] for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        *([(opcode, False, b"")] for opcode in (CLOSE, PING, PONG)),
        *([(opcode, True, b"x" * 126)] for opcode in (CLOSE, PING, PONG)),
    ],
)
def test_violations_of_the_protocol(frames: list[tuple[int, bool, bytes]]) -> None:
    assembler = FrameAssembler()
    *before, last = frames
    for frame in before:
        assert not isinstance(assembler.feed(*frame)[0], int)
    assert assembler.feed(*last) == (1002, None)


@pytest.mark.parametrize("opcode", range(16))
def test_no_reserved_bit_without_an_extension(opcode: int) -> None:
    assert FrameAssembler().feed(opcode, True, b"", reserved=True) == (1002, None)


def test_the_names_of_the_verdicts() -> None:
    assert sorted(VERDICTS.values()) == ["binary", "close", "more", "ping", "pong", "text"]


def test_the_code_of_a_close() -> None:
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for code in range(1 << 16):
        expected = code if code in allowed else -1002
        assert close_code(code.to_bytes(2, "big")) == expected, code


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", 1005),
        (b"\x03", -1002),
        (b"\x0f", -1002),  # the byte that always stands behind a bytes object would make 3840 of it
        (b"\x03\xe8", 1000),
        (b"\x03\xe8" + b"x" * 123, 1000),
        (b"\x03\xe8caf\xc3\xa9", 1000),
        (b"\x03\xe8\xc3", -1007),
        (b"\x03\xe8\xff", -1007),
        (b"\x00\x00\xff", -1002),
    ],
)
def test_the_payload_of_a_close(payload: bytes, expected: int) -> None:
    assert close_code(payload) == expected
