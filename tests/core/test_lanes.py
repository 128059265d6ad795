"""Lanes: partitions of devices, who needs which, and what an index says of it."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.harness import Server, subscribe
from valtronics_fast._core.lanes import Lanes, lane_of, lanes_in
from valtronics_fast._core.wire import Channel

ALL = 2**64 - 1


@given(st.integers(0, 3), st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1, max_size=16))
def test_a_device_has_the_lane_that_the_documentation_says(channel: int, device: int | str | None) -> None:
    partition = 0 if device is None else zlib.crc32(str(device).encode()) % 64
    assert lane_of(channel, device) == 64 * channel + partition


def test_the_devices_of_a_fleet_are_spread() -> None:
    lanes = [lane_of(Channel.TELEMETRY, device) for device in range(6400)]
    assert max(lanes.count(lane) for lane in range(64)) < 2 * 100


@pytest.mark.parametrize("partitions", [0, 1, 0b101, 1 << 63, ALL])
def test_the_lanes_of_partitions(partitions: int) -> None:
    expected = [64 + partition for partition in range(64) if partitions >> partition & 1]
    assert lanes_in(Channel.ALERTS, partitions) == expected


def test_which_are_followed() -> None:
    lanes = Lanes()
    assert not lanes.is_followed(70)
    lanes.set_followed([70, 255], True)
    assert [lane for lane in range(256) if lanes.is_followed(lane)] == [70, 255]
    lanes.set_followed([70], False)
    assert [lane for lane in range(256) if lanes.is_followed(lane)] == [255]


async def test_those_that_somebody_is_subscribed_to_are_wanted() -> None:
    def lanes_of(*devices: int | str) -> list[int]:
        return sorted({lane_of(Channel.TELEMETRY, device) for device in devices})

    async with Server(shared=True) as server:
        assert server.hub.lanes is not None
        server.hub.lanes.set_followed(range(256), True)
        wanted = server.hub.lanes.wanted
        one, other = await server.login(), await server.login()
        await subscribe(one, "telemetry", device_id=[1, "pump"])
        await subscribe(other, "telemetry", device_id=[1, 2])
        assert wanted() == lanes_of(1, 2, "pump")
        await other.ask(type="unsubscribe", id=1, channel="telemetry")
        assert wanted() == lanes_of(1, "pump")
        await subscribe(other, "system")
        assert wanted() == [*lanes_of(1, "pump"), lane_of(Channel.SYSTEM, None)]
        await subscribe(other, "alerts")
        assert wanted() == [*lanes_of(1, "pump"), *range(64, 128), lane_of(Channel.SYSTEM, None)]
        other.close()
        await server.gone(other)
        assert wanted() == lanes_of(1, "pump")
        await one.ask(type="unsubscribe", id=1, channel="telemetry")
        assert wanted() == []


async def test_devices_come_and_go() -> None:
    chance = random.Random(7)
    async with Server(shared=True) as server:
        assert server.hub.lanes is not None
        server.hub.lanes.set_followed(range(256), True)
        client = await server.login()
        there: set[int] = set()
        for _ in range(200):
            device = chance.randrange(30)
            command = "unsubscribe" if device in there else "subscribe"
            await client.ask(type=command, id=1, channel="telemetry", device_id=device)
            there ^= {device}
            assert server.hub.lanes.wanted() == sorted({lane_of(Channel.TELEMETRY, one) for one in there})


def test_what_is_followed_is_told_in_order() -> None:
    lanes = Lanes()
    assert lanes.following() == []
    lanes.set_followed([255, 3, 64], True)
    assert lanes.following() == [3, 64, 255]
    lanes.set_followed([64], False)
    assert lanes.following() == [3, 255]
