from __future__ import annotations

import pytest

from valtronics_fast._core.frames import FrameAssembler, is_utf8
from valtronics_fast._core.wire import Opcode

TEXT = b'{"type":"ping","timestamp":"2026-01-01T12:00:00Z"}' * 6


@pytest.mark.benchmark(group="frames")
def test_whole_message_300_bytes(benchmark):
    assembler = FrameAssembler(65536, 64)
    assert benchmark(assembler.feed, Opcode.OP_TEXT, True, TEXT) == ("text", TEXT)


@pytest.mark.benchmark(group="frames")
def test_message_of_4_fragments(benchmark):
    assembler = FrameAssembler(65536, 64)

    def feed() -> tuple[str | int, bytes | None]:
        assembler.feed(Opcode.OP_TEXT, False, TEXT)
        assembler.feed(Opcode.OP_CONTINUATION, False, TEXT)
        assembler.feed(Opcode.OP_CONTINUATION, False, TEXT)
        return assembler.feed(Opcode.OP_CONTINUATION, True, TEXT)

    assert benchmark(feed) == ("text", TEXT * 4)


@pytest.mark.benchmark(group="utf8")
def test_64_kib_of_ascii(benchmark):
    assert benchmark(is_utf8, [b"x" * 65536])


@pytest.mark.benchmark(group="utf8")
def test_64_kib_of_mixed_text(benchmark):
    assert benchmark(is_utf8, ["23.5 °C über Ω ".encode() * 3600])
