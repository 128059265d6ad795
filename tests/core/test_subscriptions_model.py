"""Random clients on a running server against the oracle: who gets what, and that nothing is left behind."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from core.harness import Message, Server, until, without_text
from core.machine import ServerMachine
from core.model import CHANNEL_OF, FILTERS, Connection, Scope, index_sizes
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.wire import CHANNELS

if TYPE_CHECKING:

    from core.wire_client import Client

# It passes within seconds; when it fails, hypothesis looks for a short way to the failure.
pytestmark = pytest.mark.timeout(900)

T = TypeVar("T")
MAX_CLIENTS = 6
TIME = "2024-01-01T12:00:00Z"

devices = st.sampled_from([1, 2, 3, "1", "a", "b"])
scopes = st.builds(
    Scope,
    channels=st.one_of(st.just(frozenset(FILTERS)), st.frozensets(st.sampled_from(list(FILTERS)))),
    devices=st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from([1, 2, 3, "a", "b"]))),
)
VALUES = {
    "metrics": ["t", "h", "p"],
    "severity": ["low", "high"],
    "alert_type": ["heat", "smoke"],
    "status_types": ["on", "off", "t"],
}


def one_or_more(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | list[T]]:
    return st.one_of(values, st.lists(values, min_size=1, max_size=4))


@st.composite
def commands(draw: st.DrawFn, *, with_names: bool) -> Message:
    """A valid subscribe or unsubscribe command for any channel, each filter at either of its two places."""
    channel = draw(st.sampled_from(list(FILTERS)))
    command: Message = {"channel": channel}
    given: Message = {}
    if channel != "system" and draw(st.booleans()):
        given["device_id"] = draw(one_or_more(devices))
    if with_names:
        for name in FILTERS[channel]:
            if draw(st.booleans()):
                given[name] = draw(one_or_more(st.sampled_from(VALUES[name])))
    for key, value in given.items():
        if draw(st.booleans()):
            command.setdefault("filters", {})[key] = value
        else:
            command[key] = value
    return command


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A complete data message."""
    kind = draw(st.sampled_from(list(CHANNEL_OF)))
    message: Message = {"type": kind}
    if kind == "system_status_update":
        metrics = draw(st.sets(st.sampled_from(["t", "h", "p", "x"]), min_size=1))
        return message | {"metrics": dict.fromkeys(sorted(metrics), 1.5), "timestamp": TIME}
    message["device_id"] = draw(devices)
    if kind == "telemetry_update":
        metrics = draw(st.sets(st.sampled_from(["t", "h", "p", "x"]), min_size=1))
        value = {"value": draw(st.integers(0, 9)), "unit": None, "timestamp": TIME}
        return message | {"telemetry": dict.fromkeys(sorted(metrics), value)}
    message |= {"timestamp": TIME, "metadata": {}}
    if kind == "device_status_update":
        status = draw(st.sampled_from(VALUES["status_types"]))
        return message | {"old_status": "on", "new_status": status, "reason": None}
    if draw(st.booleans()):
        message["alert_type"] = draw(st.sampled_from(VALUES["alert_type"]))
    if draw(st.integers(0, 3)) == 0:
        message["device_id"] = None
    severity = draw(st.sampled_from(VALUES["severity"]))
    return message | {"alert_id": 7, "severity": severity, "title": "T", "message": "M"}


def mask_of(channels: frozenset[str]) -> int:
    return sum(1 << CHANNELS[channel] for channel in channels)


class Clients(ServerMachine):
    """Up to MAX_CLIENTS clients of one server; `pairs` are the clients and what the oracle thinks of them."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Client, Connection]] = []
        self.ids = itertools.count(1)
        self.run(self.start)

    async def start(self) -> None:
        self.server = await Server().__aenter__()

    def pick(self, number: int) -> tuple[Client, Connection]:
        return self.pairs[number % len(self.pairs)]

    def token(self, scope: Scope) -> str:
        return self.server.token(channels=mask_of(scope.channels), devices=scope.devices)

    @initialize()
    def first_client(self) -> None:
        self.connect(Scope(), None, implicit=False)

    @precondition(lambda self: len(self.pairs) < MAX_CLIENTS)
    @rule(scope=scopes, endpoint=st.sampled_from([None, None, *FILTERS]), implicit=st.booleans())
    def connect(self, scope: Scope, endpoint: str | None, implicit: bool) -> None:
        if endpoint is not None:
            scope = Scope(scope.channels | {endpoint}, scope.devices)

        async def work() -> None:
            number = -1 if endpoint is None else CHANNELS[endpoint]
            client = await self.server.login(self.token(scope), endpoint=number, implicit=implicit)
            connection = Connection(scope, endpoint)
            if implicit:
                connection.start()
            self.pairs.append((client, connection))

        self.run(work)

    @precondition(lambda self: len(self.pairs) > 1)
    @rule(number=st.integers(0, MAX_CLIENTS - 1), rudely=st.booleans())
    def leave(self, number: int, rudely: bool) -> None:
        pair = self.pick(number)
        self.pairs.remove(pair)

        async def work() -> None:
            if rudely:
                pair[0].reset()
            else:
                pair[0].close()
            await until(lambda: pair[0].session in self.server.host.closed_sessions)

        self.run(work)

    @rule(number=st.integers(0, MAX_CLIENTS - 1), scope=scopes)
    def renew(self, number: int, scope: Scope) -> None:
        client, connection = self.pick(number)
        if connection.endpoint is not None:
            scope = Scope(scope.channels | {connection.endpoint}, scope.devices)

        async def work() -> None:
            answer = await client.ask(type="auth", token=self.token(scope))
            assert answer["success"] is True
            assert set(answer["channels"]) == scope.channels
            assert await client.settled() == connection.renew(scope)

        self.run(work)

    def command(self, kind: str, given: Message, endpoint: str | None, bare: bool) -> Message:
        """Return a whole command; an endpoint's own channel may be left out."""
        left_out = {"channel"} if bare and given["channel"] == endpoint else set()
        return {"type": kind, "id": next(self.ids)} | {key: given[key] for key in given if key not in left_out}

    @rule(number=st.integers(0, MAX_CLIENTS - 1), given=commands(with_names=True), bare=st.booleans())
    def subscribe(self, number: int, given: Message, bare: bool) -> None:
        client, connection = self.pick(number)
        command = self.command("subscribe", given, connection.endpoint, bare)

        async def work() -> None:
            assert without_text(await client.ask(**command)) == connection.subscribe(command)

        self.run(work)

    @rule(number=st.integers(0, MAX_CLIENTS - 1), given=commands(with_names=False), bare=st.booleans())
    def unsubscribe(self, number: int, given: Message, bare: bool) -> None:
        client, connection = self.pick(number)
        command = self.command("unsubscribe", given, connection.endpoint, bare)

        async def work() -> None:
            assert without_text(await client.ask(**command)) == connection.unsubscribe(command)

        self.run(work)

    @rule(turn=st.lists(messages(), min_size=1, max_size=4))
    def publish(self, turn: list[Message]) -> None:
        """Publish within one turn of the event loop; what came and that nothing else did is known by a barrier."""

        async def work() -> None:
            for message in turn:
                expected = sum(connection.receive(message)[1] for _, connection in self.pairs)
                assert self.server.hub.publish(message) == expected
            received = await self.server.settled(*[client for client, _ in self.pairs])
            for (_, connection), got in zip(self.pairs, received, strict=True):
                delivered = [connection.receive(message)[0] for message in turn]
                assert got == [message for message in delivered if message is not None]

        self.run(work)

    @invariant()
    def the_books_balance(self) -> None:
        check_hub(self.server.hub)
        for client, connection in self.pairs:
            assert client.session.subscription_count == len(connection.subscriptions)
        sizes = self.server.hub.index.stats()
        del sizes["bytes"]
        assert sizes == index_sizes([connection for _, connection in self.pairs])


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=80, stateful_step_count=60)
