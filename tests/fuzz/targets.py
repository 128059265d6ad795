"""The targets, by name: another one is a function more in TARGETS, and a folder of the corpus.

Here are those of commands and of what producers send; what else may be negotiated is in `formats`, what comes
before a connection is in `door` and `credentials`, and what other nodes send in `packets`.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

from core.oracle import MessageModel, batch_item_sizes
from fuzz import credentials, door, formats, packets
from fuzz.peerless import Peerless
from fuzz.target import Target, expect
from valtronics_fast._core.commands import item_sizes, parse, selection
from valtronics_fast._core.frames import FrameAssembler, close_code
from valtronics_fast._core.wire import CHANNEL_NAMES, ERROR_NAMES
from valtronics_fast.errors import PublicationError
from valtronics_fast.producers import mapping, mqtt_inbound, status
from valtronics_fast.producers.mapping import DEFAULT_TOPICS, KINDS, MappingError, compile_topics

if TYPE_CHECKING:
    from collections.abc import Callable


def start_frames() -> Callable[[bytes], None]:
    """Frames into the assembler, which must agree with the model of RFC 6455, up to the first violation.

    Two bytes of bounds, then frames: a byte of FIN, RSV and opcode, a byte of size, the payload.
    """

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        assembler, model = FrameAssembler(data[0], data[1]), MessageModel(data[0], data[1])
        at = 2
        while at + 2 <= len(data):
            opcode, fin, reserved = data[at] & 15, data[at] & 0x80 != 0, data[at] & 0x70 != 0
            payload = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + len(payload)
            expected = model.feed(opcode, fin, payload, reserved)
            assert assembler.feed(opcode, fin, payload, reserved) == expected
            if isinstance(expected[0], int):
                return
            if expected[0] == "close":
                code = close_code(payload)
                assert code < 0 or len(payload) == 0 or payload[:2] == code.to_bytes(2, "big")

    return run


def _number(text: str) -> int | float:
    """Return an integer as orjson reads it: as a float where 64 bits are too few."""
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


def start_commands() -> Callable[[bytes], None]:
    """Texts into what reads commands: nothing is raised, and what it makes of a text is what JSON makes of it."""

    def run(data: bytes) -> None:
        message, error = parse(data)
        sizes = item_sizes(data, 1000)
        if message is None:
            assert error in ERROR_NAMES
            return
        text = data.decode()
        assert message == json.loads(text, parse_int=_number)
        assert sizes == batch_item_sizes(data)
        for channel in CHANNEL_NAMES:
            chosen = selection(channel, message)
            assert isinstance(chosen, (str, tuple))

    return run


def start_session() -> Callable[[bytes], None]:
    """Texts, with a NUL behind each, into a whole session; the first byte says whether it is authenticated.

    Nothing is raised, whatever is answered is a message of ours, and when it is gone nothing is left of it.
    """
    peerless = Peerless()

    def run(data: bytes) -> None:
        session = peerless.connect(authenticated=bool(data[:1] and data[0] & 1))
        for text in data[1:].split(b"\0"):
            peerless.receive(session, text)
        for answer in peerless.disconnect(session):
            assert isinstance(answer["type"], str)
            assert answer["type"] != "error" or answer["error"] in ERROR_NAMES.values()
        assert peerless.host.errors == []
        peerless.check()

    return run


def start_mapping() -> Callable[[bytes], None]:
    """An MQTT topic, a NUL and a payload: mapped and published, or refused for a known reason."""
    topics = compile_topics([*DEFAULT_TOPICS, "site/+/{device}/# => alert", "plant/{severity} => alert"])
    statuses = status.StatusTable()
    peerless = Peerless()

    def run(data: bytes) -> None:
        name, _, payload = data.partition(b"\0")
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            return
        try:
            kind, messages = topics.map(topic, payload)
        except MappingError as error:
            expect(error.reason, mapping.REASONS)
            return
        assert kind in KINDS
        assert messages
        for message in messages:
            orjson.dumps(message)
            if message["type"] == "device_status_update":
                device, new = message["device_id"], message["new_status"]
                assert isinstance(device, (int, str))
                assert isinstance(new, str)
                statuses.note(device, new)
            try:
                peerless.hub.publish(message)
            except PublicationError as error:
                expect(error.code, ERROR_NAMES)

    return run


def start_inbound() -> Callable[[bytes], None]:
    """A byte of flags, a byte of the MQTT version, and a PUBLISH packet: ours and gmqtt's way must agree."""
    taken: list[tuple[str, bytes, bool]] = []
    left: list[tuple[int, bytes]] = []
    plain: list[tuple[object, bytes, bool]] = []

    class Silent(mqtt_inbound.Inbound):
        """Sends no acknowledgements: there is no connection."""

        def _acknowledge(self, identifier: bytes) -> None:
            assert len(identifier) == 2

    def client_of(version: int) -> Client:
        client = Client("fuzz")
        client._connection_state.protocol_version = version
        client._package_handler._send_puback = lambda *_: None
        client._package_handler._send_pubrec = lambda *_: None
        client.on_message = lambda _, topic, payload, qos, properties: plain.append(
            (topic, payload, bool(properties["retain"]))
        )
        return client

    def inbound_of(version: int) -> mqtt_inbound.Inbound:
        client = client_of(version)
        client._package_handler._handle_publish_packet = lambda flags, packet: left.append((flags, packet))
        return Silent(client, lambda *message: taken.append(message))

    ways = {version: (inbound_of(version), client_of(version)) for version in (MQTTv50, MQTTv311)}

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        for seen in (taken, left, plain):
            seen.clear()
        flags, packet = data[0] & 15, data[2:]
        inbound, client = ways[MQTTv50 if data[1] & 1 else MQTTv311]
        try:
            inbound._on_packet(flags, packet)
        except IndexError:
            return
        if left:
            assert (left, taken) == ([(flags, packet)], [])
            return
        with suppress(struct.error, IndexError, ValueError):
            client._package_handler._handle_publish_packet(flags, packet)
        if plain:
            assert plain == taken
            return
        # gmqtt looks into the properties, and skips a message with one that is none; a broker sends no such thing.
        end = 2 + int.from_bytes(packet[:2], "big") + (2 if flags & mqtt_inbound.QOS_1 else 0)
        assert inbound._state.protocol_version == MQTTv50
        assert packet[end] > 0

    return run


TARGETS = {
    "frames": Target(start_frames),
    "commands": Target(start_commands),
    "session": Target(start_session),
    "mapping": Target(start_mapping, (mapping, status)),
    "inbound": Target(start_inbound, (mqtt_inbound,)),
    **formats.TARGETS,
    **door.TARGETS,
    **credentials.TARGETS,
    **packets.TARGETS,
}
