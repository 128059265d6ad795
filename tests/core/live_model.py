"""What clients must have seen in the end, however slowly they read (protocol.md, sections 3 and 6).

A Receiver is one connection: what it must have seen last of each metric, and which events, next to what it has seen.
Values are numbers that grow with each publication, so that older ones are told from newer ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.feed_model import Place, metrics_key, place_of
from core.frequency_model import Newest
from core.model import CHANNEL_OF, FILTERS, Connection, Message, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[Place, str]
STATUS = "status"


def entries(message: Message) -> Iterator[tuple[Key, Any]]:
    """Give what a message says is newest now: metrics, or a device's status; alerts say nothing."""
    if message["type"] == "device_status_update":
        yield (place_of(message), STATUS), message["metadata"]["n"]
    elif message["type"] != "alert":
        for name, metric in message[metrics_key(message)].items():
            yield (place_of(message), name), metric["n"]


@dataclass(eq=False)
class Receiver:
    """A connection. exact: each message that matches comes once or is told as conflated, and there is nothing else."""

    connection: Connection
    exact: bool = True
    must_see: dict[Key, Any] = field(default_factory=dict)
    seen: dict[Key, Any] = field(default_factory=dict)
    events: list[Message] = field(default_factory=list)  # it must get; of statuses there may be others, of snapshots
    got: list[Message] = field(default_factory=list)
    matched: int = 0  # publications of values
    values: int = 0  # messages that it got
    told: int = 0  # conflated messages

    def offer(self, message: Message) -> None:
        """A publication: what of it the client asks for is what it must see now."""
        wanted = self.connection.receive(message)[0]
        if wanted is None:
            return
        self.must_see |= dict(entries(wanted))
        if "metrics" in FILTERS[wanted["channel"]]:
            self.matched += 1
        else:
            self.events.append(wanted)

    def receive(self, message: Message) -> None:
        """Take what came; nothing may go back in time."""
        if message["type"] == "notice":
            self.told += message["count"]
            return
        if "metrics" in FILTERS[message["channel"]]:
            self.values += 1
        else:
            self.got.append(message)
        for key, value in entries(message):
            assert self.seen.get(key, value) <= value, (key, value)
            self.seen[key] = value

    def subscriptions_have_changed(self) -> None:
        """Forget what it does not ask for any more."""
        for place, name in list(self.must_see):
            there = self.connection.standing(*place)
            if there is None or not (name == STATUS or there.names is None or name in there.names):
                del self.must_see[place, name]

    def check(self) -> None:
        """Say whether all is well when everything has been sent and read."""
        assert {key: self.seen.get(key) for key in self.must_see} == self.must_see
        if self.exact:
            assert self.got == self.events
        else:
            rest = iter(self.got)
            assert all(event in rest for event in self.events)  # in this order


@dataclass
class World:
    """All that was published, and what of it the server remembers; limit: bytes for the newest values of a channel."""

    limit: int
    log: dict[str, list[Message]] = field(default_factory=lambda: {channel: [] for channel in FILTERS})
    newest: dict[Place, dict[str, Message]] = field(default_factory=dict)  # place -> metric -> message
    tables: dict[str, Newest] = field(default_factory=dict)

    def publish(self, message: Message) -> None:
        channel, device = place = place_of(message)
        self.log[channel].append(message)
        if "metrics" in FILTERS[channel]:
            metrics = message[metrics_key(message)]
            for gone in self.tables.setdefault(channel, Newest(self.limit)).store(device, metrics):
                del self.newest[channel, gone]
        elif channel == "alerts" or self.limit:  # of statuses, who has to go is not reckoned here
            return
        self.newest.setdefault(place, {}).update({name: message for (_, name), _ in entries(message)})

    def snapshot(self, receiver: Receiver, subscription: Subscription) -> None:
        """Have the client see the newest of what one of its subscriptions matches."""
        for place, messages in self.newest.items():
            for name, message in messages.items():
                wanted = subscription.projection(message, receiver.connection.scope)
                if place[0] == subscription.channel and wanted is not None and (name in wanted or name == STATUS):
                    receiver.must_see[place, name] = dict(entries(message))[place, name]

    def replay(self, receiver: Receiver, subscription: Subscription, offset: int) -> None:
        """Have it get all that was published after an offset; nothing has been kept back from it."""
        alone = Connection(receiver.connection.scope, subscriptions=[subscription])
        everything = Receiver(alone, must_see=receiver.must_see, events=receiver.events, matched=receiver.matched)
        for message in self.log[subscription.channel][offset:]:
            everything.offer(message | {"channel": CHANNEL_OF[message["type"]]})
        receiver.must_see, receiver.matched = everything.must_see, everything.matched
