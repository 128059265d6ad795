"""Messages out of frames, and UTF-8."""

from __future__ import annotations

import pytest

from valtronics_fast._core.frames import FrameAssembler, is_utf8
from valtronics_fast._core.wire import Opcode

TEXT = b'{"type":"ping","timestamp":"2026-01-01T12:00:00Z"}' * 6
OP_TEXT, OP_CONTINUATION, OP_PING = int(Opcode.OP_TEXT), int(Opcode.OP_CONTINUATION), int(Opcode.OP_PING)


@pytest.mark.benchmark(group="frames")
def test_whole_message_300_bytes(steady):
    assembler = FrameAssembler(65536, 64)
    assert steady(assembler.feed, OP_TEXT, True, TEXT) == ("text", TEXT)


@pytest.mark.benchmark(group="frames")
def test_ping(steady):
    assembler = FrameAssembler(65536, 64)
    assert steady(assembler.feed, OP_PING, True, b"12345678") == ("ping", b"12345678")


@pytest.mark.benchmark(group="frames")
def test_message_of_4_fragments(steady):
    assembler = FrameAssembler(65536, 64)

    def feed() -> tuple[str | int, bytes | None]:
        assembler.feed(OP_TEXT, False, TEXT)
        assembler.feed(OP_CONTINUATION, False, TEXT)
        assembler.feed(OP_CONTINUATION, False, TEXT)
        return assembler.feed(OP_CONTINUATION, True, TEXT)

    assert steady(feed) == ("text", TEXT * 4)


@pytest.mark.benchmark(group="utf8")
def test_64_kib_of_ascii(steady):
    assert steady(is_utf8, [b"x" * 65536], iterations=50)


@pytest.mark.benchmark(group="utf8")
def test_64_kib_of_mixed_text(steady):
    assert steady(is_utf8, ["23.5 °C über Ω ".encode() * 3600], iterations=50)
