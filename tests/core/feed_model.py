"""Who gets which frames at their frequency: the lines of all clients, over the subscriptions of core.model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.frequency_model import Line, Newest, has_come
from core.model import CHANNEL_OF, Connection, Device, Message, Standing
from core.oracle import device_key

if TYPE_CHECKING:
    from collections.abc import Iterable

Place = tuple[str, Device | None]
Frames = dict[Connection, list[Message]]


def place_of(message: Message) -> Place:
    """Return the channel and the device that a message is about; the system is no device."""
    device = message.get("device_id")
    return CHANNEL_OF[message["type"]], None if device is None else device_key(device)


def metrics_key(message: Message) -> str:
    return "telemetry" if message["type"] == "telemetry_update" else "metrics"


def by_device(messages: Iterable[Message]) -> list[Message]:
    """Return messages in the order of their devices: that of different devices is nobody's business."""
    return sorted(messages, key=lambda message: str(place_of(message)))


@dataclass
class Feed:
    """What the clients of a server get; `limit` bounds the newest values of a channel, in bytes."""

    limit: int = 0
    clients: list[Connection] = field(default_factory=list)
    lines: dict[Connection, dict[Place, tuple[Standing, Line]]] = field(default_factory=lambda: defaultdict(dict))
    envelopes: dict[Place, Message] = field(default_factory=dict)  # the newest message without its metrics
    newest: dict[str, Newest] = field(default_factory=dict)

    def publish(self, message: Message, now: float) -> Frames:
        """Return what is sent because of a publication of values."""
        channel, device = place = place_of(message)
        key = metrics_key(message)
        metrics = message[key]
        frames: Frames = defaultdict(list)
        for silent in self.newest.setdefault(channel, Newest(self.limit)).store(device, metrics):
            self.forget((channel, silent), now, frames)
        self.envelopes[place] = {name: value for name, value in message.items() if name != key} | {"channel": channel}
        for client in self.clients:
            standing = client.standing(channel, device)
            if standing is not None:
                fresh = standing, Line(standing.names, standing.pace)
                line = self.lines[client].setdefault(place, fresh)[1]
                self.send(client, place, line.offer(metrics, now), frames)
        return frames

    def forget(self, place: Place, now: float, frames: Frames) -> None:
        """Let go of a device for which there is no room: what is pending goes out, and every clock is forgotten."""
        for client in self.clients:
            if place in self.lines[client]:
                self.send(client, place, self.lines[client].pop(place)[1].flush(now), frames)

    def advance(self, now: float) -> Frames:
        """Return what is sent because time has gone on."""
        frames: Frames = defaultdict(list)
        for client in self.clients:
            for place, (_, line) in self.lines[client].items():
                if line.due is not None and has_come(line.due, now):
                    self.send(client, place, line.flush(now), frames)
        return frames

    def changed(self, client: Connection) -> list[Message]:
        """Return what a client is sent because its subscriptions have changed.

        Where they come down to something else, that begins anew: what was pending and is still asked for goes out at
        once, and so does the next publication.
        """
        frames: Frames = defaultdict(list)
        for place, (standing, line) in list(self.lines[client].items()):
            now_there = client.standing(*place)
            if now_there is None or now_there.key != standing.key:
                del self.lines[client][place]
                if now_there is not None:
                    self.send(client, place, line.successor_gets(now_there.names), frames)
        return frames[client]

    def gone(self, client: Connection) -> None:
        """Forget a client."""
        self.clients.remove(client)
        self.lines.pop(client, None)

    def deadlines(self) -> list[float]:
        """Return when something is due, in order."""
        lines = [line for places in self.lines.values() for _, line in places.values()]
        return sorted({line.due for line in lines if line.due is not None})

    def send(self, client: Connection, place: Place, metrics: Message, frames: Frames) -> None:
        if metrics:
            envelope = self.envelopes[place]
            frames[client].append(envelope | {metrics_key(envelope): metrics})
