"""Random clients at their frequencies on a running server, while time goes on in steps, against the oracle.

Time is made up: floating-point seconds that are handed to the hub, and to the oracle, which reckons with the same ones.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from core.feed_model import Feed, by_device, metrics_key, place_of
from core.frequency_model import Pace, has_moved, number_in
from core.harness import Message, Server, until, without_text
from core.machine import ServerMachine
from core.model import CHANNEL_OF, FILTERS, Connection, Scope
from valtronics_fast._core.wire import CHANNELS

if TYPE_CHECKING:

    from core.feed_model import Frames, Place
    from core.wire_client import Client

# It passes within a minute; when it fails, hypothesis looks for a short way to the failure.
pytestmark = pytest.mark.timeout(1800)

MAX_CLIENTS = 4
START = 1000.0
FOREVER = 1e9  # seconds: no token expires
VALUES = [name for name in FILTERS if "metrics" in FILTERS[name]]
NAMES = ["t", "h", "p"]
DEVICES = [1, 2, "a"]

intervals = st.sampled_from(["real-time", "7ms", "30ms", "100ms", "100ms", "100ms", "1s", "1000ms", "5s"])
deadbands = st.sampled_from([0, 2, 0.5, "50%", "0%"])
frequencies = st.one_of(intervals, st.fixed_dictionaries({"every": intervals, "deadband": deadbands}))
scopes = st.builds(
    Scope,
    channels=st.sampled_from([frozenset(FILTERS), frozenset(FILTERS), frozenset({"telemetry"})]),
    devices=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(DEVICES))),
    min_interval=st.sampled_from([0, 0, 0.05, 0.1]),
)
numbers = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, 1.5, 100.0, "x", True, None]))
# Milliseconds; with 0 two things happen at the same time.
steps = st.sampled_from([0, 0, 0, 0, 1, 5, 10, 29, 30, 31, 95, 100, 105, 999, 1000, 2500])


@st.composite
def commands(draw: st.DrawFn, *, with_filters: bool) -> Message:
    """A valid subscribe or unsubscribe command for a channel of values."""
    command: Message = {"channel": draw(st.sampled_from(["telemetry", "telemetry", "telemetry", "system"]))}
    if command["channel"] == "telemetry" and draw(st.booleans()):
        command["device_id"] = draw(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=2))
    if with_filters:
        if draw(st.booleans()):
            command["metrics"] = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2))
        command["frequency"] = draw(frequencies)
    return command


def entries(metrics: dict[str, Any], names: set[str] | None) -> dict[str, Any]:
    return {name: metric for name, metric in metrics.items() if names is None or name in names}


class View:
    """What a client should see in the end: the newest of what was published while it asked for it.

    Attributes:
        seen: (place, metric) -> what it received last.
        newest: (place, metric) -> what was published last while it had subscribed to it, and its pace then.
    """

    def __init__(self) -> None:
        self.seen: dict[tuple[Place, str], Any] = {}
        self.newest: dict[tuple[Place, str], tuple[Any, Pace]] = {}

    def publish(self, connection: Connection, message: Message) -> None:
        standing = connection.standing(*place_of(message))
        if standing is not None:
            for name, metric in entries(message[metrics_key(message)], standing.names).items():
                self.newest[place_of(message), name] = metric, standing.pace

    def receive(self, message: Message) -> None:
        self.seen |= {(place_of(message), name): metric for name, metric in message[metrics_key(message)].items()}

    def subscriptions_have_changed(self, connection: Connection) -> None:
        for place, name in list(self.newest):
            standing = connection.standing(*place)
            if standing is None or not entries({name: None}, standing.names):
                del self.newest[place, name]

    def check(self) -> None:
        for key, (metric, pace) in self.newest.items():
            if self.seen[key] != metric:
                value, last = number_in(metric), number_in(self.seen[key])
                assert pace.deadband, key
                assert not has_moved(value, last, pace), key


class Paced(ServerMachine):
    """Up to MAX_CLIENTS clients of one server, with what the oracle thinks of them, and what they see."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[tuple[Client, Connection, View]] = []
        self.numbers = itertools.count(1)
        self.now = START

    def pick(self, number: int) -> tuple[Client, Connection, View]:
        return self.clients[number % len(self.clients)]

    def token(self, scope: Scope) -> str:
        channels = sum(1 << CHANNELS[channel] for channel in scope.channels)
        return self.server.token(
            seconds=FOREVER, channels=channels, devices=scope.devices, min_interval=scope.min_interval
        )

    @initialize(limit=st.sampled_from([0, 0, 1, 2000]), min_interval=st.sampled_from([0, 0, 0.05]))
    def start(self, limit: int, min_interval: float) -> None:
        self.feed = Feed(limit)
        self.min_interval = min_interval

        async def work() -> None:
            server = Server(
                clock=False, now=START, max_latest=limit, min_interval=min_interval, auth_timeout=0, ping_interval=0
            )
            self.server = await server.__aenter__()

        self.run(work)
        self.connect(Scope(), None)

    async def received(self, frames: Frames) -> None:
        """Check that every client has received these frames, and nothing else."""
        got = await self.server.settled(*[client for client, _, _ in self.clients])
        for (_, connection, view), messages in zip(self.clients, got, strict=True):
            assert by_device(messages) == by_device(frames.get(connection, []))
            for message in messages:
                view.receive(message)

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(scope=scopes, endpoint=st.sampled_from([None, None, *VALUES]))
    def connect(self, scope: Scope, endpoint: str | None) -> None:
        """The client gets the slot of the one that has left last."""
        if endpoint is not None:
            scope = Scope(scope.channels | {endpoint}, scope.devices, scope.min_interval)

        async def work() -> None:
            number = -1 if endpoint is None else CHANNELS[endpoint]
            client = await self.server.login(self.token(scope), endpoint=number)
            connection = Connection(scope, endpoint, self.min_interval)
            connection.start()
            self.clients.append((client, connection, View()))
            self.feed.clients.append(connection)

        self.run(work)

    @precondition(lambda self: len(self.clients) > 1)
    @rule(number=st.integers(0, MAX_CLIENTS - 1), rudely=st.booleans())
    def leave(self, number: int, rudely: bool) -> None:
        client, connection, _ = pair = self.pick(number)
        self.clients.remove(pair)
        self.feed.gone(connection)

        async def work() -> None:
            if rudely:
                client.reset()
            else:
                client.close()
            await until(lambda: client.session in self.server.host.closed_sessions)

        self.run(work)

    async def order(self, number: int, command: Message, answers: list[Message]) -> None:
        """Send a command; check what is answered, and the data that it makes the server send."""
        client, connection, view = self.pick(number)
        await client.say(**command)
        messages = await client.settled()
        data = [message for message in messages if message["type"] in CHANNEL_OF]
        told = [without_text(message) for message in messages if message["type"] not in CHANNEL_OF]
        if command["type"] == "auth":
            assert told.pop(0)["success"] is True
        assert told == answers
        assert by_device(data) == by_device(self.feed.changed(connection))
        for message in data:
            view.receive(message)
        view.subscriptions_have_changed(connection)

    @rule(number=st.integers(0, MAX_CLIENTS - 1), given=commands(with_filters=True))
    def subscribe(self, number: int, given: Message) -> None:
        command = {"type": "subscribe", "id": next(self.numbers)} | given
        self.run(lambda: self.order(number, command, [self.pick(number)[1].subscribe(command)]))

    @rule(given=commands(with_filters=True))
    def everybody_subscribes(self, given: Message) -> None:
        for number in range(len(self.clients)):
            self.subscribe(number, given)

    @rule(number=st.integers(0, MAX_CLIENTS - 1), given=commands(with_filters=False))
    def unsubscribe(self, number: int, given: Message) -> None:
        command = {"type": "unsubscribe", "id": next(self.numbers)} | given
        self.run(lambda: self.order(number, command, [self.pick(number)[1].unsubscribe(command)]))

    @rule(number=st.integers(0, MAX_CLIENTS - 1), scope=scopes)
    def renew(self, number: int, scope: Scope) -> None:
        connection = self.pick(number)[1]
        if connection.endpoint is not None:
            scope = Scope(scope.channels | {connection.endpoint}, scope.devices, scope.min_interval)
        command = {"type": "auth", "token": self.token(scope)}
        self.run(lambda: self.order(number, command, connection.renew(scope)))

    @rule(
        place=st.sampled_from([1, "1", 2, "a", None]),
        values=st.dictionaries(st.sampled_from(NAMES), numbers, min_size=1),
        later=steps,
    )
    def publish(self, place: int | str | None, values: dict[str, Any], later: int) -> None:
        """Time may have gone on since the server last looked at its clock."""
        self.now += later / 1000
        time = f"t{next(self.numbers)}"
        if place is None:
            message: Message = {"type": "system_status_update", "metrics": values, "timestamp": time}
        else:
            metrics = {name: {"value": value, "unit": None, "timestamp": time} for name, value in values.items()}
            message = {"type": "telemetry_update", "device_id": place, "telemetry": metrics}
        matched = sum(connection.receive(message)[1] for _, connection, _ in self.clients)
        for _, connection, view in self.clients:
            view.publish(connection, message)
        assert self.server.hub.publish(message, self.now) == matched
        self.run(lambda: self.received(self.feed.publish(message, self.now)))

    def pass_time(self, now: float) -> None:
        self.now = max(self.now, now)
        self.server.hub.advance(self.now)
        self.run(lambda: self.received(self.feed.advance(self.now)))

    @rule(step=steps)
    def time_goes_on(self, step: int) -> None:
        self.pass_time(self.now + step / 1000)

    @precondition(lambda self: self.feed.deadlines())
    @rule(number=st.integers(0, 9), late=st.sampled_from([0, 0, 0.01]))
    def a_deadline_comes(self, number: int, late: float) -> None:
        """Exactly then nothing may happen yet, but for a deadline on a tick."""
        deadlines = self.feed.deadlines()
        self.pass_time(deadlines[number % len(deadlines)] + late)

    @rule()
    def everything_is_settled(self) -> None:
        self.pass_time(self.now + 60)  # sends what was pending, which sets clocks
        self.pass_time(self.now + 60)
        assert self.feed.deadlines() == []
        assert self.server.hub.pacer.stats()["timers"] == 0
        for _, _, view in self.clients:
            view.check()

    @invariant()
    def the_books_balance(self) -> None:
        stats = self.server.hub.pacer.stats()
        lines = [line for places in self.feed.lines.values() for _, line in places.values()]
        assert stats["subscribers"] == sum(line.is_remembered() for line in lines)
        for channel, newest in self.feed.newest.items():
            table = self.server.hub.latest[CHANNELS[channel]]
            assert table is not None
            assert table.stats()["bytes"] == newest.size()
            assert table.stats()["devices"] == len(newest.sizes)

    def finish(self) -> None:
        if self.clients:
            self.everything_is_settled()


TestPaced = Paced.TestCase
TestPaced.settings = settings(max_examples=80, stateful_step_count=60)
