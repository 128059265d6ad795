"""The way of PUBLISH packets from gmqtt's read loop to the producer (MQTT 5 and 3.1.1, section 3.3).

gmqtt spends 3.7 µs on a message; of these 1.1 on cutting the packet out of what was read, and the rest on properties
that few messages have, log lines that nobody reads, and finding out whether the callback is a coroutine. Its handler
looks up by name which of its methods takes a packet. `Inbound` puts itself in that method's place, takes the packets
that almost all are, of QoS 0 or 1 with few properties, and leaves the others to gmqtt. Should a later gmqtt look
elsewhere, then all packets go gmqtt's way, and everything works as it does here, only slower.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from gmqtt.mqtt.constants import MQTTv50

if TYPE_CHECKING:
    from collections.abc import Callable

    from gmqtt import Client

    from valtronics_fast.producers.base import Outlet

__all__ = ["Inbound"]

RETAIN, QOS_1, QOS_2 = 1, 2, 4  # flags in a PUBLISH packet's first byte
PUBACK = b"\x40\x02"  # the packet identifier follows; without a reason code it is "success"

CONGESTED = 0.05
"""Seconds between two looks whether the acknowledgements may go."""


class Inbound:
    """Takes a client's PUBLISH packets.

    What has QoS 1 is acknowledged after it was taken, all of one turn of the event loop in one write. With an outlet
    that is when it was carried on, so that what this process loses at its death comes again; the broker sends on
    meanwhile, up to the maximum that it was told. While the outlet is congested nothing is acknowledged, and QoS 0 is
    dropped.

    Args:
        client: before it connects; its `on_message` gets what is left to gmqtt.
        take: gets topic, payload, and whether the message was retained; raises nothing.
        outlet: where it goes; None: it is there once it was taken.
        may_take: whether messages are still to be taken; what is not stays with the broker.

    Attributes:
        dropped: messages of QoS 0 that were not taken.
    """

    __slots__ = (
        "_acknowledgements", "_client", "_left_to_gmqtt", "_may_take", "_outlet", "_sending", "_state", "_stopped",
        "_take", "_task", "dropped",
    )  # fmt: skip

    def __init__(
        self,
        client: Client,
        take: Callable[[str, bytes, bool], None],
        outlet: Outlet | None = None,
        may_take: Callable[[], bool] | None = None,
    ) -> None:
        self.dropped = 0
        self._client = client
        self._take = take
        self._outlet = outlet
        self._may_take = may_take
        self._acknowledgements = bytearray()
        self._sending = b""  # those that wait until what they are for is carried on
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._state = client._connection_state  # noqa: SLF001 - see above
        handler = client._package_handler  # noqa: SLF001
        self._left_to_gmqtt: Callable[[int, bytes], None] = handler._handle_publish_packet  # noqa: SLF001
        handler._handle_publish_packet = self._on_packet  # noqa: SLF001

    async def stop(self, patience: float) -> None:
        """Take nothing more, and acknowledge what was taken, as far as it is carried on within so many seconds."""
        self._stopped = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._outlet is not None and (self._sending or self._acknowledgements):
            carried_on = False
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._outlet.settled()
                    carried_on = not self._outlet.congested()
            if not carried_on:
                return
        self._send_acknowledgements()

    def _on_packet(self, flags: int, packet: bytes) -> None:
        """Take a packet, without its fixed header but with that header's first byte. IndexError: it is cut off."""
        if self._stopped or (self._may_take is not None and not self._may_take()):
            return
        end = 2 + (packet[0] << 8 | packet[1])
        begin = end + 2 if flags & QOS_1 else end  # of the payload
        if flags & QOS_2 or end == 2 or begin > len(packet):
            self._left_to_gmqtt(flags, packet)
            return
        if self._state.protocol_version == MQTTv50:
            size = packet[begin]  # of the properties, none of which is of use here
            begin += 1 + size
            if size > 127 or begin > len(packet):
                self._left_to_gmqtt(flags, packet)
                return
        try:
            topic = packet[2:end].decode()
        except UnicodeDecodeError:
            self._left_to_gmqtt(flags, packet)
            return
        if self._outlet is not None and not flags & QOS_1 and self._outlet.congested():
            self.dropped += 1
            return
        self._take(topic, packet[begin:], flags & RETAIN != 0)
        if flags & QOS_1:
            self._acknowledge(packet[end : end + 2])

    def _acknowledge(self, identifier: bytes) -> None:
        if self._outlet is not None:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._acknowledge_when_settled(self._outlet))
        elif not self._acknowledgements:
            asyncio.get_running_loop().call_soon(self._send_acknowledgements)
        self._acknowledgements += PUBACK + identifier

    async def _acknowledge_when_settled(self, outlet: Outlet) -> None:
        """Acknowledge what has been carried on, and then what came meanwhile, until nothing comes."""
        await asyncio.sleep(0)  # the turn's other messages come with it
        while self._acknowledgements:
            self._sending = bytes(self._acknowledgements)
            self._acknowledgements.clear()
            await outlet.settled()
            while outlet.congested():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(CONGESTED)
            sending, self._sending = self._sending, b""
            self._send(sending)

    def _send_acknowledgements(self) -> None:
        acknowledgements = self._sending + bytes(self._acknowledgements)
        self._sending = b""
        self._acknowledgements.clear()
        self._send(acknowledgements)

    def _send(self, acknowledgements: bytes) -> None:
        if acknowledgements and self._client.is_connected:
            self._client._connection.send_package(acknowledgements)  # noqa: SLF001
