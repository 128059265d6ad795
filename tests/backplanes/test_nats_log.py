"""The log on a real NATS server: offsets, what is kept, what it says when something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nats
import pytest

from core.harness import until
from nats_server import Nats
from valtronics_fast.backplanes.log import Batch, LogError
from valtronics_fast.backplanes.nats_log import SPAN, NatsLog
from valtronics_fast.config import BackplaneConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Heard:
    """What a log has handed on."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, bytes]] = []
        self.announced: list[tuple[bytes, int]] = []
        self.messages: list[bytes] = []
        self.losses: list[Exception] = []

    def received(self, lane: int, offset: int, blob: bytes, /) -> None:
        self.entries.append((lane, offset, blob))

    def heard(self, data: bytes, offset: int, /) -> None:
        self.announced.append((data, offset))

    def told(self, data: bytes, /) -> None:
        self.messages.append(data)

    def lost(self, error: Exception, /) -> None:
        self.losses.append(error)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with Nats(tmp_path) as running:
        yield running


def make(server: Nats, **settings: object) -> NatsLog:
    return NatsLog(BackplaneConfig(url=server.url, **settings))  # type: ignore[arg-type]


async def test_entries_come_in_order_with_their_offsets(server: Nats) -> None:
    log, heard = make(server), Heard()
    await log.open("1", heard, "", 0)
    await log.follow([1, 2])
    await log.append([Batch(1, 3, b"a"), Batch(2, 1, b"b c"), Batch(3, 1, b"not followed"), Batch(1, 512, b"")])
    position = await log.sync()
    assert heard.entries == [(1, SPAN, b"a"), (2, 2 * SPAN, b"b c"), (1, 4 * SPAN, b"")]
    assert position == 5 * SPAN
    await log.announce(b"hello")
    await log.send("1", b"to one")
    await log.send("2", b"to another")
    await until(lambda: heard.announced and heard.messages)
    assert (heard.announced, heard.messages) == ([(b"hello", 6 * SPAN)], [b"to one"])
    await log.unfollow([1])
    await log.append([Batch(1, 1, b"x"), Batch(2, 1, b"y")])
    await log.sync()
    assert [blob for _, _, blob in heard.entries[3:]] == [b"y"]
    await log.close()


async def test_what_is_kept_can_be_read(server: Nats) -> None:
    log = make(server, entries=20)
    await log.open("1", Heard(), "", 0)
    assert await log.read([], 0) == {}
    assert await log.read([1], None) == {1: (0, [])}
    await log.append([Batch(1, 2, b"a"), Batch(2, 1, b"b"), Batch(1, 1, b"c")])
    assert await log.read([1, 2, 3], None) == {
        1: (0, [(SPAN, b"a"), (3 * SPAN, b"c")]), 2: (0, [(2 * SPAN, b"b")]), 3: (0, []),
    }  # fmt: skip
    assert await log.read([1], SPAN + 1) == {1: (0, [(SPAN, b"a"), (3 * SPAN, b"c")])}
    assert await log.read([1], 2 * SPAN) == {1: (0, [(3 * SPAN, b"c")])}
    await log.append([Batch(1, 1, b"x")] * 30)
    floor, entries = (await log.read([1], None))[1]
    assert (floor, len(entries)) == (entries[0].offset - 1, 20)
    assert (await log.read([1], entries[5].offset))[1].floor == 0
    await log.close()


async def test_what_was_stored_outlives_the_server(tmp_path: Path) -> None:
    with Nats(tmp_path, persistent=True) as server:
        log, heard = make(server), Heard()
        epoch = await log.open("1", heard, "", 0)
        await log.append([Batch(1, 1, b"x")])
        position = await log.sync()
        server.kill()
        await until(lambda: heard.losses)
        await log.close()
        server.start()
        assert await log.open("1", Heard(), epoch, position) == epoch
        assert (await log.read([1], None))[1].entries == [(SPAN, b"x")]
        await log.close()
        # A stream that has less than a node has seen is not the same any more.
        assert await log.open("1", Heard(), epoch, 100 * SPAN) != epoch
        assert (await log.read([1], None))[1].entries == []
        await log.close()


@pytest.mark.parametrize("what", ["append", "announce", "send", "follow", "unfollow", "sync", "read"])
async def test_nothing_works_that_is_not_open(server: Nats, what: str) -> None:
    log = make(server)
    await log.open("1", Heard(), "", 0)
    await log.close()
    await log.close()
    calls = {
        "append": lambda: log.append([Batch(1, 1, b"")]), "announce": lambda: log.announce(b""),
        "send": lambda: log.send("1", b""), "follow": lambda: log.follow([1]), "unfollow": lambda: log.unfollow([1]),
        "sync": log.sync, "read": lambda: log.read([1], 0),
    }  # fmt: skip
    with pytest.raises(LogError):
        await calls[what]()


async def test_what_is_not_stored_is_an_error(server: Nats) -> None:
    log = make(server)
    await log.open("1", Heard(), "", 0)
    with pytest.raises(LogError):
        await log.append([Batch(1, 1, b"x" * (2 << 20))])
    await log.close()
    await log.open("1", Heard(), "", 0)
    admin = await nats.connect(server.url)
    await admin.jetstream().delete_stream("valtronics-log")
    await admin.close()
    with pytest.raises(LogError, match="nobody stores it"):
        await log.append([Batch(1, 1, b"x")])
    await log.close()


async def test_another_number_of_entries_is_told_of(server: Nats, caplog: pytest.LogCaptureFixture) -> None:
    for entries, is_told in ((10, False), (10, False), (20, True)):
        caplog.clear()
        log = make(server, entries=entries)
        await log.open("1", Heard(), "", 0)
        await log.close()
        assert ("another number" in caplog.text) is is_told
