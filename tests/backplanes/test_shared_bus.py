"""What a node makes of what comes from the log, on the log that is quickest: the one between workers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from backplanes.nodes import Node, hear, number
from core.harness import telemetry, until
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import shared
from valtronics_fast.backplanes.envelope import Envelope, seal
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.backplanes.members import Heartbeat
from valtronics_fast.workers import frames
from workers.machine import Machine, machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LANE = lane_of(Channel.TELEMETRY, 1)
OTHER = 99
AHEAD = 10**6
"""So far in front of the log's offsets is what these tests make up."""


@asynccontextmanager
async def one_node(**settings: Any) -> AsyncIterator[tuple[Machine, Node]]:
    async with machine() as one, Node("memory://", link=await one.connect(), **settings) as node:
        yield one, node


def entry(node: Node, sequence: int, value: int) -> bytes:
    """Return an envelope of another node."""
    return seal(Envelope(OTHER, sequence, 1, node.hub.pack(telemetry(1, n=value))[1]))


def say(node: Node, **what: Any) -> None:
    """Have another node say something of itself."""
    heartbeat = Heartbeat(**{"node": OTHER, "number": 5, **what})
    node.backplane.heard(msgspec.json.encode(heartbeat), node.hub.log_position)


def deaf(one: Machine, *kinds: int) -> Callable[[], None]:
    """Have the supervisor leave out some kinds of requests; return what ends it."""
    take = one.bus.take

    def leave_out(port: Any, kind: int, body: bytes) -> None:
        if kind not in kinds:
            take(port, kind, body)

    one.bus.take = leave_out  # type: ignore[method-assign]
    return lambda: setattr(one.bus, "take", take)


async def test_nonsense_is_counted_and_does_no_harm() -> None:
    async with one_node() as (_, node):
        client = await node.subscribed()
        node.backplane.heard(b"{", 0)
        node.backplane.told(b"nonsense")
        node.backplane.received(LANE, node.hub.log_position + AHEAD, b"nonsense")
        assert node.stat("garbage") == 3
        node.publish(1, 7)
        assert [number(message) for message in await hear(client, 1)] == [7]
        assert node.stat("losses") == 0


async def test_a_lane_that_is_not_followed_is_left_out() -> None:
    async with one_node() as (_, node):
        node.backplane.received(LANE, node.hub.log_position + AHEAD, entry(node, 1, 1))
        assert node.log() == []


async def test_what_a_heartbeat_tells_of_and_has_not_come_is_missed() -> None:
    async with one_node() as (_, node):
        client = await node.subscribed(recover=True)
        node.backplane.received(LANE, node.hub.log_position + AHEAD, entry(node, 1, 1))
        assert [number(message) for message in await hear(client, 1)] == [1]
        say(node, sequences={LANE: 1})
        assert await client.settled() == []
        say(node, sequences={LANE: 3})
        await until(lambda: node.stat("resyncs") == 1)
        assert (await client.hear())["type"] == "resync"
        await client.settled()


async def test_what_a_heartbeat_tells_of_lanes_that_are_not_followed_is_left_out() -> None:
    async with one_node() as (_, node):
        say(node, sequences={LANE: 1})
        say(node, sequences={LANE: 3})
        assert node.backplane._sequences.last(OTHER, LANE) == 0


async def test_the_first_message_of_a_node_that_has_just_started_is_missed() -> None:
    async with one_node() as (_, node):
        client = await node.subscribed(recover=True)
        say(node, number=1)
        say(node, number=2, sequences={LANE: 1})
        await until(lambda: node.stat("resyncs") == 1)
        assert (await client.hear())["type"] == "resync"
        await client.settled()


async def test_who_turns_up_late_is_asked_for_newest_values() -> None:
    """It has followed a lane for longer than this node, which did not know it when it began to follow."""
    async with one_node() as (_, node):
        await node.subscribed()
        await until(lambda: node.stat("loaded") == 64)
        say(node, follows=f"{1 << LANE:x}")
        await until(lambda: node.stat("resyncs") == 1)


async def test_a_loss_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with one_node() as (_, node):
        for _ in range(2):
            node.backplane.lost(LogError("gone"))
        assert caplog.text.count("the backplane is gone") == 1


async def test_an_offset_of_a_log_that_is_lost_counts_for_nothing() -> None:
    async with one_node() as (_, node):
        before = node.hub.log_position
        node.publish(1, 1)
        await node.backplane.settled()
        node.backplane._open = False
        with pytest.raises(LogError, match="lost meanwhile"):
            await node.backplane._sync()
        assert node.hub.log_position == before
        node.backplane._open = True


async def test_what_was_on_its_way_when_the_log_went_is_delivered_once() -> None:
    async with one_node() as (one, node):
        client = await node.subscribed()
        hear_again = deaf(one, frames.APPEND, frames.OPEN)
        node.publish(1, 1)
        await asyncio.sleep(0.01)
        assert await client.settled() == []
        one.bus.drop(one.ports[0])
        assert [number(message) for message in await hear(client, 1)] == [1]
        node.publish(1, 2)  # and what is published without it
        assert [number(message) for message in await hear(client, 1)] == [2]
        hear_again()
        hear_again = deaf(one, frames.APPEND)
        await until(node.backplane.ready)
        one.bus.drop(one.ports[0])  # it is lost once more, before it has taken anything
        await until(lambda: node.stat("losses") == 2)
        hear_again()
        await until(node.backplane.ready)
        await node.synced()
        assert await client.settled() == []
        assert len(node.log()) == 2


async def test_what_was_delivered_without_the_log_is_not_delivered_again() -> None:
    async with one_node() as (one, node):
        client = await node.subscribed()
        hear_again = deaf(one, frames.OPEN)
        one.bus.drop(one.ports[0])
        await until(lambda: not node.backplane.ready())
        node.publish(1, 1)
        assert [number(message) for message in await hear(client, 1)] == [1]
        hear_again()
        await until(node.backplane.ready)
        await node.synced()
        assert await client.settled() == []
        assert len(node.log()) == 1


async def test_what_came_before_its_answer_was_lost_is_delivered_once() -> None:
    async with one_node() as (one, node):
        client = await node.subscribed()
        answer = one.bus._answer
        one.bus._answer = lambda *_, **__: None  # type: ignore[method-assign]
        node.publish(1, 1)
        assert [number(message) for message in await hear(client, 1)] == [1]
        one.bus._answer = answer  # type: ignore[method-assign]
        one.bus.drop(one.ports[0])
        await until(lambda: node.stat("losses") == 1)
        await until(node.backplane.ready)
        await node.synced()
        assert await client.settled() == []
        assert (len(node.log()), node.stat("repeated")) == (1, 1)


async def test_a_log_that_does_not_answer_does_not_hold_up_a_subscription() -> None:
    async with one_node(patience=0.2) as (one, node):
        hear_again = deaf(one, frames.FOLLOW)
        client = await node.subscribed()
        hear_again()
        client.close()


async def test_a_log_that_takes_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "GOODBYE", 0.1)
    async with one_node() as (one, node):
        deaf(one, frames.APPEND)
        node.publish(1, 1)
        await node.backplane.stop()
        assert node.stat("waiting_bytes") > 0
