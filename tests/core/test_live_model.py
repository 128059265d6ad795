"""Random clients that stop reading and read on, subscribe, come and go, on a running server against the oracle.

Time is made up: seconds that are handed to the hub. What the kernel's buffers hold is not: who is behind, and when, is
up to it, and nobody may notice.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from core.behind import SMALL
from core.harness import Message, Server, until, without_text
from core.live_model import Receiver, World
from core.machine import ServerMachine
from core.model import CHANNEL_OF, FILTERS, Connection, Scope
from core.wire_client import PING, PONG
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.wire import CHANNELS

if TYPE_CHECKING:

    from core.wire_client import Client, Frame

# It passes within a minute; when it fails, hypothesis looks for a short way to the failure.
pytestmark = pytest.mark.timeout(1800)

MAX_CLIENTS = 3
FOREVER = 1e9  # seconds: no token expires
DEVICES = [1, 2, "a"]
METRICS = ["t", "h", "p"]
NAMES = {"metrics": METRICS, "severity": ["low", "high"], "alert_type": ["x"], "status_types": ["on", "off"]}

places = st.sampled_from([1, 1, 2, "a", None])
pick = st.integers(0, MAX_CLIENTS - 1)
scopes = st.builds(
    Scope,
    channels=st.sampled_from([frozenset(FILTERS)] * 3 + [frozenset({"telemetry", "alerts"})]),
    devices=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(DEVICES), min_size=1)),
    min_interval=st.sampled_from([0, 0, 0, 0, 0, 0.05]),
)


@st.composite
def selections(draw: st.DrawFn, *, with_filters: bool = True) -> Message:
    """A valid subscribe or unsubscribe command."""
    channel = draw(st.sampled_from(["telemetry", "telemetry", "telemetry", *FILTERS]))
    command: Message = {"channel": channel}
    if channel != "system" and draw(st.booleans()):
        command["device_id"] = draw(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=2))
    if with_filters:
        for name in FILTERS[channel]:
            if draw(st.booleans()):
                command[name] = draw(st.lists(st.sampled_from(NAMES[name]), min_size=1, max_size=2))
        if "metrics" in FILTERS[channel] and draw(st.integers(0, 5)) == 0:
            command["frequency"] = draw(st.sampled_from(["30ms", "100ms"]))
    return command


class Live(ServerMachine):
    """Clients that read when a rule says so, what they must see, and what those that have left know."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[tuple[Client, Receiver, list[Message]]] = []  # with the answers that are to come
        self.absent: list[tuple[str, int]] = []  # a channel, and the offset up to which somebody has got it
        self.numbers = itertools.count(1)
        self.now = 0.0

    @initialize(
        plain=st.booleans(),
        limit=st.sampled_from([0, 0, 1, 2500]),
        history=st.sampled_from([0, 4, 1000]),
        mark=st.sampled_from([2000, 9000]),
    )
    def start(self, plain: bool, limit: int, history: int, mark: int) -> None:
        """plain: without snapshots and frequencies, so that every message is accounted for."""
        self.plain, self.world, self.history = plain, World(limit), history
        self.server = Server(
            clock=False, now=0.0, max_latest=limit, history=history, auth_timeout=0, ping_interval=0,
            send_buffer=SMALL, queue_mark=mark, queue_limit=0,
        )  # fmt: skip
        self.run(self.enter)
        for channel in ("telemetry", "alerts"):
            self.connect(Scope(), {"notices": True})
            self.subscribe(-1, {"channel": channel}, False)

    async def enter(self) -> None:
        await self.server.__aenter__()

    def token(self, scope: Scope) -> str:
        channels = sum(1 << CHANNELS[channel] for channel in scope.channels)
        assert not (self.plain and scope.min_interval)
        return self.server.token(
            seconds=FOREVER, channels=channels, devices=scope.devices, min_interval=scope.min_interval
        )

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(scope=scopes, wishes=st.sampled_from([{}, {"notices": True}, {"notices": True, "batch": True}]))
    def connect(self, scope: Scope, wishes: Message) -> None:
        scope = self.possible(scope)

        async def work() -> None:
            client = await self.server.connect(receive_buffer=SMALL)
            assert (await client.ask(type="auth", token=self.token(scope), **wishes))["success"] is True
            self.clients.append((client, Receiver(Connection(scope)), []))

        self.run(work)

    def possible(self, scope: Scope) -> Scope:
        return Scope(scope.channels, scope.devices) if self.plain else scope

    # Reading

    def take(self, number: int, frame: Frame) -> None:
        """Take a frame: data, or an answer, of which the next one must be the one that is expected."""
        client, receiver, answers = self.clients[number]
        if frame.opcode == PONG:
            return
        message = client.decode(frame)
        for one in message["messages"] if message["type"] == "batch" else [message]:
            if one["type"] == "auth_response":
                assert (one["id"], one["success"]) == (answers.pop(0)["id"], True)
            elif one["type"] == "notice" or one["type"] in CHANNEL_OF:
                receiver.receive({name: value for name, value in one.items() if name != "offset"})
            else:
                assert without_text(one) == answers.pop(0)

    async def read_all(self) -> None:
        """Have everybody read until nobody is behind."""
        idle = False
        while not idle:
            idle = not self.server.hub.behind and not any(client.session.queued_bytes for client, _, _ in self.clients)
            for number, (client, _, _) in enumerate(self.clients):
                await client.send(PING, b"end")
                while (frame := await client.receive()) != (PONG, b"end"):
                    self.take(number, frame)

    @rule(number=pick, count=st.integers(1, 30))
    def one_reads_a_little(self, number: int, count: int) -> None:
        number %= len(self.clients)

        async def work() -> None:
            for _ in range(count):
                if self.clients[number][0].session.queued_bytes:
                    self.take(number, await self.clients[number][0].receive())

        self.run(work)

    @rule()
    def everything_is_read(self) -> None:
        """And what was due later, too."""

        async def work() -> None:
            for _ in range(3):
                await self.read_all()
                self.now += 0.2
                self.server.hub.advance(self.now)

        self.run(work)
        self.run(self.read_all)
        for client, receiver, answers in self.clients:
            assert answers == []
            receiver.check()
            assert receiver.told in (0, client.session.conflated)
            if receiver.exact:
                assert receiver.values + client.session.conflated == receiver.matched

    # Commands

    async def order(self, number: int, command: Message, *answers: Message) -> None:
        """Have a command handled, whether or not its sender reads."""
        client, receiver, expected = self.clients[number]
        expected += answers
        before = client.session.messages_in
        await client.say(**command)
        await until(lambda: client.session.messages_in > before)
        receiver.subscriptions_have_changed()

    def subscribed(self, receiver: Receiver, command: Message) -> Message:
        """Have the oracle do a subscribe command; return its answer."""
        answer = receiver.connection.subscribe(command)
        exact = "frequency" not in command and not receiver.connection.scope.min_interval
        receiver.exact = receiver.exact and exact and not command.get("snapshot")
        if answer["type"] != "error" and command.get("snapshot"):
            self.world.snapshot(receiver, receiver.connection.subscriptions[-1])
        return answer

    @rule(number=pick, given=selections(), snapshot=st.sampled_from([False, False, True]))
    def subscribe(self, number: int, given: Message, snapshot: bool) -> None:
        number %= len(self.clients)
        command = {"type": "subscribe", "id": next(self.numbers)} | given
        if self.plain:
            command.pop("frequency", None)
        else:
            command["snapshot"] = snapshot
        answer = self.subscribed(self.clients[number][1], command)
        self.run(lambda: self.order(number, command, answer))

    @rule(number=pick, given=selections(with_filters=False))
    def unsubscribe(self, number: int, given: Message) -> None:
        number %= len(self.clients)
        command = {"type": "unsubscribe", "id": next(self.numbers)} | given
        self.run(lambda: self.order(number, command, self.clients[number][1].connection.unsubscribe(command)))

    @rule(number=pick, names=st.sets(st.sampled_from(METRICS), min_size=1))
    def subscribe_to_other_metrics(self, number: int, names: set[str]) -> None:
        self.subscribe(number, {"channel": "telemetry", "metrics": sorted(names)}, False)

    @rule(number=pick, scope=scopes)
    def renew(self, number: int, scope: Scope) -> None:
        number %= len(self.clients)
        receiver = self.clients[number][1]
        scope = self.possible(scope)
        receiver.exact = receiver.exact and not scope.min_interval
        command = {"type": "auth", "id": next(self.numbers), "token": self.token(scope)}
        lost = receiver.connection.renew(scope)
        self.run(lambda: self.order(number, command, {"id": command["id"]}, *lost))

    @precondition(lambda self: len(self.clients) > 1)
    @rule(number=pick, channel=st.sampled_from(sorted(FILTERS)), rudely=st.booleans())
    def leave(self, number: int, channel: str, rudely: bool) -> None:
        """It may come back, or another that has got as much of the channel."""
        client, _, _ = self.clients.pop(number % len(self.clients))
        self.absent.append((channel, len(self.world.log[channel])))

        async def work() -> None:
            (client.reset if rudely else client.close)()
            await until(lambda: client.session in self.server.host.closed_sessions)

        self.run(work)

    @precondition(lambda self: self.absent and len(self.clients) < MAX_CLIENTS)
    @rule(scope=scopes, given=selections())
    def come_back(self, scope: Scope, given: Message) -> None:
        channel, offset = self.absent.pop()
        given = given if given["channel"] == channel and not self.plain else {"channel": channel}
        scope = self.possible(scope)
        self.connect(scope, {"notices": True})
        number = len(self.clients) - 1
        receiver = self.clients[number][1]
        since = {"epoch": self.server.hub.epoch, "offset": offset}
        command = {"type": "subscribe", "id": next(self.numbers), "since": since} | given
        last = len(self.world.log[channel])
        interval = "metrics" in FILTERS[channel] and ("frequency" in given or scope.min_interval)
        recovered = last - offset <= self.history and not interval
        answer = self.subscribed(receiver, command | {"snapshot": not recovered})
        if answer["type"] != "error":
            stands = offset if recovered else last if channel == "alerts" else 0
            answer |= {"position": since | {"offset": stands}, "recovered": recovered}
            if recovered:
                self.world.replay(receiver, receiver.connection.subscriptions[-1], offset)
        self.run(lambda: self.order(number, command, answer))

    # What happens

    def publish(self, message: Message) -> None:
        self.world.publish(message)
        matched = sum(receiver.connection.receive(message)[1] for _, receiver, _ in self.clients)
        for _, receiver, _ in self.clients:
            receiver.offer(message)
        assert self.server.hub.publish(message, self.now) == matched

    @rule(place=places, names=st.sets(st.sampled_from(METRICS), min_size=1), size=st.sampled_from([0, 500, 4000, 4000]),
          count=st.integers(1, 12))  # fmt: skip
    def values_change(self, place: int | str | None, names: set[str], size: int, count: int) -> None:
        for _ in range(count):
            number = next(self.numbers)
            metrics = {name: {"value": None, "n": number, "text": "x" * size} for name in sorted(names)}
            if place is None:
                self.publish({"type": "system_status_update", "metrics": metrics, "timestamp": "T"})
            else:
                metrics = {name: metric | {"unit": None, "timestamp": ""} for name, metric in metrics.items()}
                self.publish({"type": "telemetry_update", "device_id": place, "telemetry": metrics})
        self.run(lambda: asyncio.sleep(0))

    @rule(place=places, severity=st.sampled_from(["low", "high"]), size=st.sampled_from([0, 3000]))
    def an_alert_comes(self, place: int | str | None, severity: str, size: int) -> None:
        self.publish({"type": "alert", "alert_id": next(self.numbers), "device_id": place, "severity": severity,
                      "alert_type": "x", "title": "T", "message": "x" * size, "timestamp": "T",
                      "metadata": {}})  # fmt: skip
        self.run(lambda: asyncio.sleep(0))

    @rule(device=st.sampled_from(DEVICES), status=st.sampled_from(["on", "off"]), size=st.sampled_from([0, 3000]))
    def a_status_changes(self, device: int | str, status: str, size: int) -> None:
        self.publish({"type": "device_status_update", "device_id": device, "old_status": "on", "new_status": status,
                      "timestamp": "T", "reason": "x" * size, "metadata": {"n": next(self.numbers)}})  # fmt: skip
        self.run(lambda: asyncio.sleep(0))

    @rule(step=st.sampled_from([0.01, 0.03, 0.1]))
    def time_goes_on(self, step: float) -> None:
        self.now += step
        self.server.hub.advance(self.now)

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "server"):
            check_hub(self.server.hub)

    def finish(self) -> None:
        if self.clients:
            self.everything_is_read()


TestLive = Live.TestCase
TestLive.settings = settings(max_examples=150, stateful_step_count=50)
