"""Publications between nodes: what comes out is what went in, and nothing else is taken."""

from __future__ import annotations

import math
import struct
import tracemalloc
from itertools import islice
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.harness import Server, subscribe, telemetry
from dumped import dumped
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.packet import PacketError, cut, pack, repack, unpack
from valtronics_fast._core.wire import MESSAGE_TYPES, Channel

MAX_METRICS = 256
MAX_NAMES = 65536

names = st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name)
devices = st.integers(-(2**63), 2**63 - 1) | st.text("abc-é", min_size=1, max_size=32)
values = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5)
when = "2024-01-01T12:00:00Z"
full = st.fixed_dictionaries({"value": values, "unit": st.none() | st.text(max_size=3), "timestamp": st.just(when)})
messages = st.one_of(
    st.fixed_dictionaries({
        "type": st.just("telemetry_update"), "device_id": devices,
        "telemetry": st.dictionaries(names, full, min_size=1, max_size=4),
    }),
    st.fixed_dictionaries({
        "type": st.just("system_status_update"), "metrics": st.dictionaries(names, values, min_size=1, max_size=4),
        "timestamp": st.just(when),
    }),
    st.fixed_dictionaries({
        "type": st.just("alert"), "alert_id": st.integers(0, 9), "device_id": st.none() | devices, "severity": names,
        "alert_type": st.none() | names, "timestamp": st.just(when), "title": names, "message": names,
        "metadata": st.just({}),
    }),
    st.fixed_dictionaries({
        "type": st.just("device_status_update"), "device_id": devices, "new_status": names, "timestamp": st.just(when),
    }),
)  # fmt: skip


def number(value: Any) -> float | None:
    """Return what a deadband sees of a metric."""
    value = value["value"] if isinstance(value, dict) else value
    return float(value) if type(value) in (int, float) else None


@given(messages)
@example(telemetry(1, big=10**18, none=None, text="1", yes=True))
def test_a_message_is_what_it_was(message: dict[str, Any]) -> None:
    packet = pack(message)
    assert repack(packet) == packet
    [(channel, _, content)] = unpack(packet)
    given_metrics = message.get("telemetry") or message.get("metrics")
    if given_metrics is None:
        document = orjson.loads(content)  # type: ignore[arg-type]
        assert {key: document[key] for key in message} == message
    else:
        assert content == {name: number(value) for name, value in given_metrics.items()}
    assert MESSAGE_TYPES[channel] == message["type"]


@given(st.lists(messages, max_size=5))
def test_packets_follow_each_other(several: list[dict[str, Any]]) -> None:
    assert unpack(b"".join(map(pack, several))) == [unpack(pack(message))[0] for message in several]


EXAMPLES = [
    telemetry("pump-é", temperature=1.5, state="on"),
    {"type": "system_status_update", "metrics": {"cpu": 1}, "timestamp": when},
    {"type": "alert", "severity": "low"},
    {"type": "device_status_update", "device_id": 7, "new_status": "on"},
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message["type"])
def test_a_packet_that_is_cut_off_is_none(message: dict[str, Any]) -> None:
    packet = pack(message)
    for size in range(1, len(packet)):
        with pytest.raises(PacketError, match="ends too early"):
            unpack(packet[:size])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message["type"])
def test_a_packet_whose_size_is_wrong_is_none(message: dict[str, Any]) -> None:
    packet = pack(message)
    size = struct.unpack_from("<I", packet)[0]
    for wrong in (size - 1, size + 1):
        with pytest.raises(PacketError):
            unpack(struct.pack("<I", wrong) + packet[4:] + b"\0")


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_packet_with_a_changed_byte_is_read_or_refused(message: dict[str, Any], data: st.DataObject) -> None:
    packet = bytearray(pack(message))
    packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpack(bytes(packet))
    except PacketError:
        return
    assert all(0 <= channel < 4 for channel, _, _ in found)


@given(st.binary(max_size=80))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    try:
        unpack(noise)
    except PacketError:
        return
    assert not noise or len(noise) >= 4


def hand_made(channel: int, device: bytes, *names: bytes, count: int | None = None) -> bytes:
    """Return a packet of metrics, all of them 0; each name has its size in front."""
    content = b"".join(name + struct.pack("<I", 1) + b"0" + bytes(8) for name in names)
    body = bytes([channel]) + device + struct.pack("<H", len(names) if count is None else count) + bytes(8) + content
    return struct.pack("<I", len(body)) + body


SEVEN, NOBODY, NAME = b"\1" + struct.pack("<q", 7), b"\0", b"\1n"


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (hand_made(4, SEVEN, NAME), "unknown channel"),
        (hand_made(Channel.TELEMETRY, NOBODY, NAME), "no device"),
        (hand_made(Channel.TELEMETRY, b"\3" + SEVEN[1:], NAME), "unknown kind"),
        (hand_made(Channel.TELEMETRY, b"\2\0", NAME), "device of the wrong length"),
        (hand_made(Channel.TELEMETRY, b"\2" + bytes([65]) + b"x" * 65, NAME), "device of the wrong length"),
        (hand_made(Channel.TELEMETRY, SEVEN, b"\0"), "name of the wrong length"),
        (hand_made(Channel.TELEMETRY, SEVEN, b"\xff" + b"x" * 255), "name of the wrong length"),
        (hand_made(Channel.TELEMETRY, SEVEN, b"\1\xff"), "no UTF-8"),
        (hand_made(Channel.TELEMETRY, SEVEN, *[NAME] * (MAX_METRICS + 1)), "too many metrics"),
        (hand_made(Channel.ALERTS, SEVEN, NAME), "wrong content"),
        (hand_made(Channel.TELEMETRY, SEVEN, count=0), "wrong content"),
    ],
)
def test_what_no_packet_has(packet: bytes, why: str) -> None:
    assert unpack(hand_made(Channel.TELEMETRY, SEVEN, NAME)) == [(Channel.TELEMETRY, 7, {"n": 0.0})]
    with pytest.raises(PacketError, match=why):
        unpack(packet)


def test_the_names_that_are_kept_are_bounded() -> None:
    names = (b"\x10%016d" % number for number in range(5 * MAX_NAMES // 2))
    tracemalloc.start()
    try:
        while some := list(islice(names, MAX_METRICS)):
            unpack(hand_made(Channel.TELEMETRY, SEVEN, *some))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200 * MAX_NAMES


@given(messages)
def test_a_hub_gets_from_another_ones_packet_what_it_would_have_got_itself(message: dict[str, Any]) -> None:
    one, other = Hub(lambda flush: None, 0.0, shared=True), Hub(lambda flush: None, 0.0, shared=True)
    lane, packet = one.pack(message)
    channel = Channel(lane // 64)
    assert packet == pack(message)
    other.receive(packet, 1, 0)
    found = dumped(other, range(256))
    if channel == Channel.ALERTS:
        assert found == {}
    else:
        assert list(found) == [lane]
        assert unpack(found[lane]) == unpack(packet)
    assert lane == lane_of(channel, unpack(packet)[0][1])


async def test_a_client_sees_no_difference() -> None:
    for message in EXAMPLES:
        channel = {"telemetry_update": "telemetry", "alert": "alerts", "device_status_update": "devices"}.get(
            message["type"], "system"
        )
        complete = {"timestamp": when, "alert_id": 1, **message} if "telemetry" not in message else message
        seen = []
        for shared in (False, True):
            async with Server(shared=shared) as server:
                if server.hub.lanes is not None:
                    server.hub.lanes.set_followed(range(256), True)
                client = await server.login()
                await subscribe(client, channel)
                if shared:
                    server.hub.receive(server.hub.pack(complete)[1], 1)
                else:
                    server.hub.publish(complete)
                seen.append(await client.settled())
        assert seen[0] == seen[1]
        assert len(seen[0]) == 1


def test_numbers_for_deadbands() -> None:
    [(_, _, found)] = unpack(pack(telemetry(1, a=1, b=2.5, c="3", d=None, e=True)))
    assert found == {"a": 1.0, "b": 2.5, "c": None, "d": None, "e": None}
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.values())  # type: ignore[union-attr]


@given(
    st.sets(st.integers(0, 300) | st.text("abc", min_size=1, max_size=3), max_size=20),
    st.lists(st.integers(0, 127), max_size=8).map(lambda more: {*range(64, 128, 3), *range(5), *more}),
    st.integers(1, 30),
    st.integers(1, 500),
)
def test_a_dump_has_each_device_of_its_lanes_once(
    devices: set[int | str], lanes: set[int], look: int, size: int
) -> None:
    hub = Hub(lambda flush: None, 0.0, shared=True)
    for offset, device in enumerate(sorted(devices, key=str)):
        hub.receive(hub.pack(telemetry(device, t=offset))[1], offset + 1, 0)
    expected: dict[int, set[int | str]] = {}
    for device in devices:
        lane = lane_of(Channel.TELEMETRY, device)
        if lane in lanes:
            expected.setdefault(lane, set()).add(device)
    found = dumped(hub, lanes, look=look, size=size)
    assert {lane: [device for _, device, _ in unpack(packets)] for lane, packets in found.items()} == {
        lane: sorted(known, key=str) for lane, known in expected.items()
    }


def test_a_dump_outlives_its_devices_and_tells_what_is_newest_then() -> None:
    hub = Hub(lambda flush: None, 0.0, shared=True, max_latest=20_000)
    lane = lane_of(Channel.TELEMETRY, 1)
    hub.receive(hub.pack(telemetry(1, t=1))[1], 1, 0)
    dump = hub.dump([lane])
    hub.receive(hub.pack(telemetry(1, t=2))[1], 2, 0)
    for device in range(2, 200):
        hub.receive(hub.pack(telemetry(device, t=1))[1], device + 1, 0)
    assert hub.latest[Channel.TELEMETRY].evicted > 0
    assert dump.look(1000)
    assert unpack(dump.take(lane, 1)) == [(Channel.TELEMETRY, 1, {"t": 2.0})]
    assert dump.take(lane, 1) == b""


@given(st.lists(messages, max_size=6), st.integers(1, 2000))
def test_packets_are_cut_between_two_of_them(several: list[dict[str, Any]], size: int) -> None:
    each = [pack(message) for message in several]
    pieces = cut(b"".join(each), size)
    assert b"".join(pieces) == b"".join(each)
    assert [found for piece in pieces for found in unpack(piece)] == unpack(b"".join(each))
    assert all(len(piece) >= size for piece in pieces[:-1])
    assert all(sum(map(len, each)) == 0 or len(piece) < size + max(map(len, each)) for piece in pieces)


def test_what_is_cut_must_be_packets() -> None:
    packet = pack(EXAMPLES[0])
    for wrong in (packet[:-1], packet[:3], packet + b"\xff\xff\xff\xff"):
        with pytest.raises(PacketError, match="ends too early"):
            cut(wrong, 1)
