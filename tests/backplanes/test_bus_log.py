"""The log between workers, over real streams; and servers that share it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from harness import TIMEOUT, Client, Message, Site, alert, telemetry, until
from valtronics_fast.backplanes import bus_log
from valtronics_fast.backplanes.log import Batch, LogError
from valtronics_fast.workers import frames
from valtronics_fast.workers.kept import MAX_PIECE
from workers.machine import Listener, Machine, machine, sites

if TYPE_CHECKING:
    from valtronics_fast.backplanes.bus_log import BusLog
    from valtronics_fast.backplanes.dumps import Dump

# --- the log itself


async def listening(one: Machine, node: int, *lanes: int) -> tuple[BusLog, Listener]:
    listener = Listener()
    log = await one.log(node, listener)
    await log.follow(lanes)
    return log, listener


async def test_all_get_what_is_appended_in_one_order_the_sender_included() -> None:
    async with machine() as one:
        logs = [await listening(one, node, 1, 2) for node in range(3)]

        async def append(log: BusLog, name: str) -> None:
            for number in range(50):
                blob = f"{name}{number}".encode()
                await log.append([Batch(1 + number % 2, 3, blob), Batch(1, 1, blob)])

        await asyncio.gather(*[append(log, name) for (log, _), name in zip(logs, "abc", strict=True)])
        await until(lambda: all(len(listener.entries) == 300 for _, listener in logs))
        first = logs[0][1].entries
        assert all(listener.entries == first for _, listener in logs)
        assert [offset for _, offset, _ in first] == sorted({offset for _, offset, _ in first})
        for name in "abc":
            assert [blob for _, _, blob in first if blob[:1] == name.encode()] == [
                f"{name}{number}".encode() for number in range(50) for _ in range(2)
            ]


async def test_an_append_is_done_when_it_returns() -> None:
    async with machine() as one:
        log, _ = await listening(one, 1)
        await log.append([Batch(9, 5, b"x")])
        assert await log.sync() == one.bus.head
        assert await log.read([8, 9], None) == {8: (0, []), 9: (0, [(one.bus.head - 4, b"x")])}
        assert await log.read([9], one.bus.head - 1) == {9: (0, [(one.bus.head - 4, b"x")])}
        assert await log.read([9], one.bus.head) == {9: (0, [])}


async def test_everything_comes_that_is_appended_after_following() -> None:
    async with machine() as one:
        (log, _), (_, listener) = await listening(one, 1), await listening(one, 2, 7)
        await log.append([Batch(7, 1, b"x")])
        await until(lambda: listener.entries)


async def test_what_is_announced_comes_behind_what_was_appended() -> None:
    async with machine() as one:
        (log, _), (_, listener) = await listening(one, 1), await listening(one, 2, 7)
        await log.append([Batch(7, 4, b"x")])
        await log.announce(b"hello")
        await until(lambda: listener.announced)
        (entry,) = listener.entries
        assert listener.announced == [(b"hello", entry[1] + 3)]


async def test_something_for_one_node_alone() -> None:
    async with machine() as one:
        (log, mine), (_, listener) = await listening(one, 1), await listening(one, 2)
        await log.send(f"{2:016x}", b"x" * (1 << 22))
        await log.send(f"{3:016x}", b"nobody")
        await until(lambda: listener.messages)
        assert listener.messages == [b"x" * (1 << 22)]
        assert mine.messages == []


async def test_large_lanes_are_read_whole() -> None:
    async with machine() as one:
        log, _ = await listening(one, 1)
        blobs = [bytes([number]) * (MAX_PIECE // 3) for number in range(20)]
        for blob in blobs:
            await log.append([Batch(0, 1, blob)])
        floor, entries = (await log.read([0], None))[0]
        assert (floor, [entry.blob for entry in entries]) == (0, blobs)
        floor, entries = (await log.read([0], entries[9].offset))[0]
        assert (floor, [entry.blob for entry in entries]) == (0, blobs[10:])


async def test_what_was_dropped_shows_in_the_floor() -> None:
    async with machine(entries=2) as one:
        log, _ = await listening(one, 1)
        for blob in (b"a", b"b", b"c"):
            await log.append([Batch(0, 1, blob)])
        floor, entries = (await log.read([0], None))[0]
        assert [entry.blob for entry in entries] == [b"b", b"c"]
        assert 0 < floor < entries[0].offset


async def test_what_was_dropped_between_two_pieces_shows_too() -> None:
    async with machine(entries=20) as one:
        log, _ = await listening(one, 1)
        for _ in range(20):
            await log.append([Batch(0, 1, bytes(MAX_PIECE // 4))])
        take, reads = one.bus.take, []

        def drop_before_the_second(port: Any, kind: int, body: bytes) -> None:
            if kind == frames.READ:
                reads.append(body)
                if len(reads) == 2:
                    for _ in range(10):
                        one.bus.kept._drop(0)
            take(port, kind, body)

        one.bus.take = drop_before_the_second  # type: ignore[method-assign]
        floor, entries = (await log.read([0], 0))[0]
        assert len(entries) < 20
        gap = max(later.offset - earlier.offset for earlier, later in pairwise(entries))
        assert entries[4].offset <= floor < entries[5].offset, gap


async def test_a_supervisor_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_log, "TIMEOUT", 0.1)
    async with machine() as one:
        log, _ = await listening(one, 1)
        one.bus.take = lambda *_: None  # type: ignore[method-assign]
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(LogError, match="no answer"):
                await log.sync()


async def test_a_worker_that_does_not_read_loses_the_log_and_nobody_keeps_anything_for_it() -> None:
    queue = 1 << 20
    async with machine(queue=queue, size=1 << 20) as one:
        (log, mine), (sleeper, listener) = await listening(one, 1, 0), await listening(one, 2, 0)
        sleeper._link.transport.pause_reading()
        blob = bytes(100_000)
        while not one.bus.losses:
            await log.append([Batch(0, 1, blob)])
        port = one.ports[1].transport
        waiting = port.get_write_buffer_size()
        assert queue < waiting < queue + 4 * len(blob)
        for _ in range(50):
            await log.append([Batch(0, 1, blob)])
            await log.announce(b"beat")
        assert port.get_write_buffer_size() < waiting + 1000
        assert not listener.losses
        sleeper._link.transport.resume_reading()
        await until(lambda: listener.losses)
        with pytest.raises(LogError, match="not open"):
            await sleeper.append([Batch(0, 1, b"x")])
        await sleeper.open(f"{2:016x}", listener, "", 0)
        floor, entries = (await sleeper.read([0], listener.entries[-1][1]))[0]
        assert floor > listener.entries[-1][1]  # it can see that it missed something
        assert entries[-1].offset == mine.entries[-1][1]


async def test_the_end_of_the_supervisor_is_the_loss_of_the_log() -> None:
    async with machine() as one:
        log, listener = await listening(one, 1)
        one.bus.take = lambda *_: None  # type: ignore[method-assign]  # it answers no more
        append = asyncio.ensure_future(log.append([Batch(0, 1, b"x")]))
        await asyncio.sleep(0)
        one.ports[0].transport.abort()
        with pytest.raises(LogError, match="the supervisor is gone"):
            await append
        assert len(listener.losses) == 1
        with pytest.raises(LogError):
            await log.open(f"{1:016x}", listener, "", 0)


async def test_closing_ends_what_waits_and_may_be_done_twice() -> None:
    async with machine() as one:
        log, listener = await listening(one, 1, 0)
        one.bus.take = lambda *_: None  # type: ignore[method-assign]
        append = asyncio.ensure_future(log.append([Batch(0, 1, b"x")]))
        await asyncio.sleep(0)
        await log.close()
        await log.close()
        with pytest.raises(LogError, match="closed"):
            await append
        for work in (log.announce(b""), log.append([])):
            with pytest.raises(LogError, match="not open"):
                await work
        assert not listener.losses


# --- servers that share it


def value(message: Message) -> object:
    return message["telemetry"]["n"]["value"]


async def subscribed(client: Client, **more: object) -> Message:
    return await client.ask(type="subscribe", id="s", channel="telemetry", **more)


async def test_clients_of_all_workers_get_everything_once_and_in_one_order() -> None:
    async with sites(3) as (_, (one, two, three)), one.client() as first, two.client() as second:
        await first.subscribe("telemetry")
        await second.subscribe("telemetry")
        for number in range(100):
            for site in (one, two, three):
                site.server.publish(telemetry(number % 7, n=number, at=site.server.port))
        heard = [[await client.receive() for _ in range(300)] for client in (first, second)]
        orders = [[(value(each), each["telemetry"]["at"]["value"]) for each in messages] for messages in heard]
        assert orders[0] == orders[1]
        assert len(set(orders[0])) == 300
        await first.nothing_more()


async def test_a_client_recovers_on_another_worker() -> None:
    async with sites() as (one_machine, (one, two)):
        async with one.client() as client:
            answer = await subscribed(client, recover=True)
            one.server.publish(telemetry(1, n=0))
            position = {"epoch": answer["position"]["epoch"], "offset": (await client.receive())["offset"]}
        for number in range(1, 6):
            two.server.publish(telemetry(1, n=number))
        await two.server._backplane.settled()
        await until(lambda: two.server._backplane.stats()["position"] == one_machine.bus.head)
        async with two.client() as client:
            answer = await subscribed(client, recover=True, since=position)
            assert answer["recovered"] is True
            assert [value(await client.receive()) for _ in range(5)] == [1, 2, 3, 4, 5]
            await client.nothing_more()


async def test_a_worker_that_is_started_again_has_the_newest_values_and_the_history() -> None:
    async with sites() as (one_machine, (one, two)):
        async with one.client() as client:
            answer = await subscribed(client, recover=True)
        for number in range(3):
            two.server.publish(telemetry(number, n=number))
        await two.server._backplane.settled()
        await one.server.stop()
        one_machine.ports[0].transport.abort()
        again = await one_machine.start()
        try:
            async with Site(again).client() as client:
                answer = await subscribed(client, recover=True, since=answer["position"])
                assert answer["recovered"] is True
                assert [value(await client.receive()) for _ in range(3)] == [0, 1, 2]
            async with Site(again).client() as client:
                await client.send(type="subscribe", channel="telemetry", snapshot=True)
                assert {value(await client.receive()) for _ in range(3)} == {0, 1, 2}
        finally:
            await again.stop()


async def test_a_worker_that_stood_still_misses_nothing_that_is_kept() -> None:
    async with sites() as (one_machine, (one, two)), one.client() as client:
        await client.subscribe("telemetry")
        one_machine.bus.drop(one_machine.ports[0])
        for number in range(50):
            two.server.publish(telemetry(1, n=number))
        assert [value(await client.receive()) for _ in range(50)] == list(range(50))
        await until(one.server._backplane.ready)
        one.server.publish(telemetry(1, n=50))
        assert value(await client.receive()) == 50
        await client.nothing_more()


async def test_what_is_not_kept_any_more_is_noticed_and_told() -> None:
    async with sites() as (one_machine, (one, two)), one.client() as client:
        await subscribed(client, recover=True)
        one_machine.bus.kept._entries = 2
        one_machine.bus.drop(one_machine.ports[0])
        for number in range(20):
            two.server.publish(telemetry(1, n=number))
            await two.server._backplane.settled()
        heard = []
        while not heard or heard[-1]["type"] != "resync":
            heard.append(await client.receive())
        assert heard[-1]["channel"] == "telemetry"
        assert value(await client.receive()) == 19  # the snapshot


async def test_events_travel_too() -> None:
    async with sites() as (_, (one, two)), one.client() as client:
        await client.subscribe("alerts", severity="critical")
        two.server.publish(alert("info"))
        two.server.publish(alert(title="Very hot"))
        assert (await client.receive())["title"] == "Very hot"
        await client.nothing_more()


async def test_what_comes_while_a_subscription_waits_in_vain_is_told_when_its_lane_is_there() -> None:
    async with sites(backplane={"patience": 0.05}) as (_, (one, two)), one.client() as client:
        backplane = one.server._backplane
        fetch, going_on = backplane._dumps.fetch, asyncio.Event()

        async def fetch_late(lanes: list[int], position: int) -> dict[int, Dump]:
            await going_on.wait()
            return await fetch(lanes, position)

        backplane._dumps.fetch = fetch_late  # type: ignore[method-assign]
        await client.subscribe("telemetry", device_id=1)
        two.server.publish(telemetry(1, n=7))
        await until(lambda: backplane._loading._arrived)
        going_on.set()
        assert (await client.receive())["telemetry"]["n"]["value"] == 7
        two.server.publish(telemetry(1, n=8))
        assert (await client.receive())["telemetry"]["n"]["value"] == 8
