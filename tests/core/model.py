"""What the server must do, in the slowest and most obvious way: the oracle of subscribing and publishing.

Written from protocol.md, sections 2 and 3, not from the code. Commands and messages are the dicts that go over
the wire; answers are complete but for the text for people.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from core.frequency_model import REAL_TIME, Pace, pace_of, parse
from core.oracle import device_key

Message = dict[str, Any]
Device = int | str

# channel -> the names that it filters by, beside device_id.
FILTERS: Final = {
    "telemetry": ("metrics",),
    "alerts": ("severity", "alert_type"),
    "devices": ("status_types",),
    "system": ("metrics",),
}
CHANNEL_OF: Final = {
    "telemetry_update": "telemetry",
    "alert": "alerts",
    "device_status_update": "devices",
    "system_status_update": "system",
}


def asked_for(command: Message, key: str) -> list[Any] | None:
    """Return a filter's values; it may stand in `filters`, which wins, or at the top level, alone or in an array."""
    value = command.get("filters", {}).get(key, command.get(key))
    values = value if value is None or isinstance(value, list) else [value]
    return list(map(device_key, values)) if key == "device_id" and values is not None else values


@dataclass(frozen=True)
class Scope:
    """What a token permits; devices None: all."""

    channels: frozenset[str] = frozenset(FILTERS)
    devices: frozenset[Device] | None = None
    min_interval: float = 0


@dataclass(eq=False)
class Subscription:
    """One subscription; devices None: all, names None: any."""

    channel: str
    devices: frozenset[Device] | None
    names: tuple[tuple[str, ...] | None, ...]
    pace: Pace = REAL_TIME
    implicit: bool = False
    asked: Any = None  # the frequency, as it was written

    @property
    def term(self) -> object:
        """What is asked for apart from devices."""
        return self.channel, self.names, self.pace

    def covered(self, scope: Scope) -> frozenset[Device] | None:
        """Return the devices that it comes down to; None: all there are, and messages about none."""
        if self.channel == "system" or scope.devices is None:
            return self.devices
        return scope.devices if self.devices is None else self.devices & scope.devices

    def projection(self, message: Message, scope: Scope) -> set[str] | None:
        """Return which metrics of a message it asks for (of an event: an empty set), None when it does not match."""
        covered = self.covered(scope)
        if self.channel != CHANNEL_OF[message["type"]]:
            return None
        device = message.get("device_id")
        if covered is not None and (device is None or device_key(device) not in covered):
            return None
        if message["type"] in ("telemetry_update", "system_status_update"):
            metrics = set(message.get("telemetry") or message["metrics"])
            wanted = metrics if self.names[0] is None else metrics & set(self.names[0])
            return wanted or None
        shown = ("severity", "alert_type") if self.channel == "alerts" else ("new_status",)
        for wanted_names, key in zip(self.names, shown, strict=True):
            if wanted_names is not None and message.get(key) not in wanted_names:
                return None
        return set()


@dataclass(frozen=True)
class Standing:
    """What the subscriptions of a connection come down to at one device.

    key: equal for what counts as the same, which goes on undisturbed. names: the metrics asked for, None: all.
    """

    key: object
    names: set[str] | None
    pace: Pace


@dataclass(eq=False)
class Connection:
    """A client: what its token permits and what it has subscribed to, oldest first; the server's smallest interval."""

    scope: Scope
    endpoint: str | None = None
    min_interval: float = 0
    subscriptions: list[Subscription] = field(default_factory=list)

    def start(self) -> None:
        """Subscribe to the endpoint's channel, as every client of one is when it has authenticated."""
        if self.endpoint is not None and (self.scope.devices != frozenset() or self.endpoint == "system"):
            names = (None,) * len(FILTERS[self.endpoint])
            interval = self.slowest() if "metrics" in FILTERS[self.endpoint] else 0
            self.subscriptions.append(Subscription(self.endpoint, None, names, Pace(interval), implicit=True))

    def slowest(self) -> float:
        """Return the smallest interval that it may have."""
        return max(self.min_interval, self.scope.min_interval)

    def subscribe(self, command: Message) -> Message:
        """Do a valid subscribe command; return the answer."""
        channel: Any = command.get("channel", self.endpoint)
        answer = {"id": command["id"], "channel": channel}
        if self.endpoint not in (None, channel):
            return answer | {"type": "error", "error": "channel_not_allowed"}
        asked = None if channel == "system" else asked_for(command, "device_id")
        devices = None if asked is None else frozenset(asked)
        given = [asked_for(command, name) for name in FILTERS[channel]]
        names = tuple(None if value is None else tuple(sorted(set(value))) for value in given)
        has_frequency = "metrics" in FILTERS[channel]
        written = command.get("filters", {}).get("frequency") or command.get("frequency")
        frequency = parse(written, self.slowest() if has_frequency else 0)
        assert frequency is not None
        new = Subscription(channel, devices, names, frequency.pace, asked=written)
        if channel not in self.scope.channels or new.covered(self.scope) == frozenset():
            return answer | {"type": "error", "error": "forbidden"}
        self.subscriptions = [
            old for old in self.subscriptions if old.channel != channel or not (old.implicit or old.devices == devices)
        ]
        self.subscriptions.append(new)
        filters: dict[str, list[Any]] = {}
        if asked is not None:
            covered = new.covered(self.scope) or frozenset()
            in_order = list(dict.fromkeys(asked))
            filters["device_id"] = [device for device in in_order if device in covered]
            if denied := [device for device in in_order if device not in covered]:
                answer["denied"] = {"device_id": denied}
        filters |= {name: list(value) for name, value in zip(FILTERS[channel], names, strict=True) if value}
        if has_frequency:
            answer["frequency"] = frequency.shown
        return answer | {"type": "subscribe_response", "success": True, "filters": filters}

    def unsubscribe(self, command: Message) -> Message:
        """Do a valid unsubscribe command; return the answer."""
        channel: Any = command.get("channel", self.endpoint)
        answer = {"id": command["id"], "channel": channel}
        if self.endpoint not in (None, channel):
            return answer | {"type": "error", "error": "channel_not_allowed"}
        asked = asked_for(command, "device_id")
        taken = None if asked is None else frozenset(asked)
        found, kept = False, []
        for subscription in self.subscriptions:
            if subscription.channel == channel and taken is None:
                found = True
                continue
            if subscription.channel == channel and subscription.devices is not None and taken is not None:
                found = found or bool(subscription.devices & taken)
                subscription.devices -= taken
                if not subscription.devices:
                    continue
            kept.append(subscription)
        self.subscriptions = kept
        if not found:
            return answer | {"type": "error", "error": "not_subscribed"}
        return answer | {"type": "unsubscribe_response", "success": True}

    def renew(self, scope: Scope) -> list[Message]:
        """Apply another token's scope; return what is announced: the subscriptions of which nothing is left."""
        self.scope = scope
        lost: list[Message] = []
        kept = []
        for subscription in self.subscriptions:
            announcement: Message = {"type": "unsubscribed", "channel": subscription.channel}
            announcement["reason"] = "permission_revoked"
            if subscription.channel not in scope.channels:
                if announcement not in lost:  # one for the whole channel
                    lost.append(announcement)
            elif subscription.covered(scope) == frozenset():
                if subscription.devices is not None:
                    announcement |= {"device_id": sorted(subscription.devices, key=str)}
                lost.append(announcement)
            else:
                if "metrics" in FILTERS[subscription.channel]:
                    frequency = parse(subscription.asked, self.slowest())
                    assert frequency is not None
                    subscription.pace = frequency.pace
                kept.append(subscription)
        self.subscriptions = kept
        return sorted(lost, key=lambda message: list(FILTERS).index(message["channel"]))

    def standing(self, channel: str, device: Device | None) -> Standing | None:
        """Return what it has at a device (None: the system), None when that is nothing."""
        own = [subscription for subscription in self.subscriptions if subscription.channel == channel]
        covers = [(subscription, subscription.covered(self.scope)) for subscription in own]
        there = [subscription for subscription, devices in covers if devices is None or device in devices]
        if not there:
            return None
        names = [subscription.names[0] for subscription in there]
        by_name = any(devices is not None and device in devices for _, devices in covers)
        terms = Counter(subscription.term for subscription in there)
        return Standing(
            (by_name, frozenset(terms.items())),
            None if None in names else {name for some in names for name in some or ()},
            pace_of([subscription.pace for subscription in there]),
        )

    def receive(self, message: Message) -> tuple[Message | None, int]:
        """Return what the client gets of a complete data message, and how many of its subscriptions match."""
        found = [subscription.projection(message, self.scope) for subscription in self.subscriptions]
        matched = [metrics for metrics in found if metrics is not None]
        if not matched:
            return None, 0
        delivered = message | {"channel": CHANNEL_OF[message["type"]]}
        for key in ("telemetry", "metrics"):
            if key in message:
                union = set().union(*matched)
                delivered[key] = {name: value for name, value in message[key].items() if name in union}
        return delivered, len(matched)


def index_sizes(connections: list[Connection]) -> dict[str, int]:
    """Return how many entries of each kind the index needs, when equal things are kept once (index.pxd)."""
    entries: list[tuple[str, Device | None]] = []
    terms, filters, names = set(), set(), set()
    for connection in connections:
        for channel in FILTERS:
            own = [subscription for subscription in connection.subscriptions if subscription.channel == channel]
            terms |= {subscription.term for subscription in own}
            names |= {name for one in own for some in one.names for name in some or ()}
            covers = {one: one.covered(connection.scope) for one in own}
            everywhere = [one for one in own if covers[one] is None]
            for device in {None} | {device for one in own for device in covers[one] or ()}:
                there = everywhere + [one for one in own if device in (covers[one] or ())]
                if there:
                    entries.append((channel, device))
                    filters.add(frozenset(Counter(one.term for one in there).items()))
    return {
        "entries": len(entries),
        "devices": len({entry for entry in entries if entry[1] is not None}),
        "names": len(names),
        "terms": len(terms),
        "filters": len(filters),
    }
