"""A good client: it receives a numbered stream, and notes what is lost, comes twice or out of order."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson

from abuse.target import ORIGIN, token
from core.wire_client import CLOSE, HANDSHAKE, PING, PONG, TEXT, frame, text

if TYPE_CHECKING:
    from abuse.audience import Audience

DEVICES = 5
BROKER = "broker"  # the device whose messages come through MQTT
KINDS = ("telemetry_update", "alert")


class Sequence:
    """What one client has got of the messages 0, 1, 2, ...

    Attributes:
        end: the number behind the highest one that has come.
        missing: lower numbers that have not.
        repeated, disordered: how many came twice; how many came behind a higher one.
    """

    def __init__(self) -> None:
        self.end = 0
        self.missing: set[int] = set()
        self.repeated = 0
        self.disordered = 0

    def take(self, number: int) -> None:
        """Note a message."""
        if number == self.end:
            self.end += 1
        elif number > self.end:
            self.missing.update(range(self.end, number))
            self.end = number + 1
        elif number in self.missing:
            self.missing.remove(number)
            self.disordered += 1
        else:
            self.repeated += 1

    def lost(self, published: int) -> int:
        """Return how many of the published messages have not come."""
        return len(self.missing) + published - self.end


class GoodClient(asyncio.Protocol):
    """One of them.

    Args:
        audience: what all share.
        user: its name.
        address: where it comes from, as the load balancer tells it; "": nobody speaks for it.
        quiet: it never pings.
        passing: it goes again soon, so that what it gets is not counted.

    Attributes:
        sequences: what it has got, by the type of the message.
        from_broker: the numbers that have come through MQTT.
        faults: what should not have come.
        ready: done when it is subscribed.
        gone: done when its connection has ended.
    """

    def __init__(
        self, audience: Audience, user: str, *, address: str = "", quiet: bool = False, passing: bool = False
    ) -> None:
        self._audience = audience
        self._user = user
        self._header = f"PROXY TCP4 {address} 127.0.0.1 1 1\r\n".encode() if address else b""
        self._quiet = quiet
        self._passing = passing
        self._buffer = b""
        self._open = False
        self._pings: dict[int, float] = {}
        self._ping_count = 0
        self._transport: asyncio.Transport
        self.sequences = {kind: Sequence() for kind in KINDS}
        self.from_broker: list[int] = []
        self.faults: list[str] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.gone = asyncio.get_running_loop().create_future()
        self.leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        devices = [*range(DEVICES), BROKER]
        handshake = HANDSHAKE.format("/ws").removesuffix("\r\n") + f"Origin: {ORIGIN}\r\n\r\n"
        self._transport.write(
            self._header
            + handshake.encode()
            + text({"type": "auth", "token": token(self._user)})
            + text({"type": "subscribe", "channel": "telemetry", "device_id": devices})
            + text({"type": "subscribe", "channel": "alerts", "device_id": devices, "id": 1})
        )

    def connection_lost(self, error: Exception | None) -> None:
        if not self.leaving:
            self.faults.append(f"the connection ended: {error}")
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("; ".join(self.faults)))
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._buffer = data
                return
            self._open = True
            if not data.startswith(b"HTTP/1.1 101"):
                self.faults.append(data[:80].decode(errors="replace"))
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                if len(data) - at < 4:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size:
                break
            self._take(data[at] & 15, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(frame(PONG, payload))
        elif opcode == CLOSE and not self.leaving:
            self.faults.append(f"close {int.from_bytes(payload[:2], 'big')}")
        elif opcode == TEXT:
            self._take_message(orjson.loads(payload))

    def _take_message(self, message: dict[str, object]) -> None:
        now = time.perf_counter()
        kind = message["type"]
        if kind in KINDS:
            if not self._passing:
                self._take_data(message, now)
        elif kind == "pong" and (sent := self._pings.pop(int(str(message["client_timestamp"])), None)):
            self._audience.round_trips.add(now - sent)
        elif kind == "subscribe_response" and not self.ready.done():
            self.ready.set_result(None)
        elif kind not in ("auth_response", "subscribe_response"):
            self.faults.append(repr(message)[:200])

    def _take_data(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        number = message["alert_id"] if kind == "alert" else message["telemetry"]["n"]["value"]
        if message["device_id"] == BROKER:
            self.from_broker.append(number)
            return
        published = self._audience.published[kind]
        if not 0 <= number < len(published):
            self.faults.append(f"{kind} {number} was never published")
            return
        self.sequences[kind].take(number)
        self._audience.deliveries.add(now - published[number])

    def ping(self) -> None:
        """Ask for a round trip."""
        if not self._quiet and self._open:
            self._pings[self._ping_count] = time.perf_counter()
            self._transport.write(text({"type": "ping", "timestamp": str(self._ping_count)}))
            self._ping_count += 1

    def say_goodbye(self) -> None:
        """End the connection as the protocol wants it."""
        self.leaving = True
        self._transport.write(frame(CLOSE, b"\x03\xe8"))

    def leave(self) -> None:
        """Cut the connection."""
        self.leaving = True
        self._transport.abort()
