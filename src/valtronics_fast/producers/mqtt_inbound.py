"""The way of PUBLISH packets from gmqtt's read loop to the producer (MQTT 5 and 3.1.1, section 3.3).

gmqtt spends 3.7 µs on a message; of these 1.1 on cutting the packet out of what was read, and the rest on properties
that few messages have, log lines that nobody reads, and finding out whether the callback is a coroutine. Its handler
looks up by name which of its methods takes a packet. `Inbound` puts itself in that method's place, takes the packets
that almost all are, of QoS 0 or 1 without properties, and leaves the others to gmqtt. Should a later gmqtt look
elsewhere, then all packets go gmqtt's way, and everything works as it does here, only slower.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gmqtt.mqtt.constants import MQTTv50

if TYPE_CHECKING:
    from collections.abc import Callable

    from gmqtt import Client

__all__ = ["Inbound"]

RETAIN, QOS_1, QOS_2 = 1, 2, 4  # flags in a PUBLISH packet's first byte
PUBACK = b"\x40\x02"  # the packet identifier follows; without a reason code it is "success"


class Inbound:
    """Takes a client's PUBLISH packets.

    What has QoS 1 is acknowledged after it was taken, all of one turn of the event loop in one write.

    Args:
        client: before it connects; its `on_message` gets what is left to gmqtt.
        take: gets topic, payload, and whether the message was retained; raises nothing.
    """

    __slots__ = ("_acknowledgements", "_client", "_left_to_gmqtt", "_state", "_stopped", "_take")

    def __init__(self, client: Client, take: Callable[[str, bytes, bool], None]) -> None:
        self._client = client
        self._take = take
        self._acknowledgements = bytearray()
        self._stopped = False
        self._state = client._connection_state  # noqa: SLF001 - see above
        handler = client._package_handler  # noqa: SLF001
        self._left_to_gmqtt: Callable[[int, bytes], None] = handler._handle_publish_packet  # noqa: SLF001
        handler._handle_publish_packet = self._on_packet  # noqa: SLF001

    def stop(self) -> None:
        """Acknowledge what was taken, and take nothing more: what has no answer stays with the broker."""
        self._stopped = True
        self._send_acknowledgements()

    def _on_packet(self, flags: int, packet: bytes) -> None:
        """Take a packet, without its fixed header but with that header's first byte. IndexError: it is cut off."""
        if self._stopped:
            return
        end = 2 + (packet[0] << 8 | packet[1])
        begin = end + 2 if flags & QOS_1 else end  # of the payload
        if flags & QOS_2 or end == 2 or begin > len(packet):
            self._left_to_gmqtt(flags, packet)
            return
        if self._state.protocol_version == MQTTv50:
            if packet[begin]:  # the size of the properties
                self._left_to_gmqtt(flags, packet)
                return
            begin += 1
        try:
            topic = packet[2:end].decode()
        except UnicodeDecodeError:
            self._left_to_gmqtt(flags, packet)
            return
        self._take(topic, packet[begin:], flags & RETAIN != 0)
        if flags & QOS_1:
            self._acknowledge(packet[end : end + 2])

    def _acknowledge(self, identifier: bytes) -> None:
        if not self._acknowledgements:
            asyncio.get_running_loop().call_soon(self._send_acknowledgements)
        self._acknowledgements += PUBACK + identifier

    def _send_acknowledgements(self) -> None:
        acknowledgements = bytes(self._acknowledgements)
        self._acknowledgements.clear()
        if acknowledgements and self._client.is_connected:
            self._client._connection.send_package(acknowledgements)  # noqa: SLF001
