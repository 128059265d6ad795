"""Clients that subscribe to thousands of devices and leave them again, against the oracle."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from core.harness import EMPTY_INDEX, Message, Server, sizes, telemetry, until, without_text
from core.model import Connection, Device, Scope, index_sizes
from core.wire_client import text

if TYPE_CHECKING:
    from core.wire_client import Client

DEVICES: list[Device] = [*range(-10, 1500), *(f"pump {n}" for n in range(500))]
STEPS = 60
KINDS = ["subscribe", "subscribe", "subscribe", "unsubscribe", "unsubscribe", "publish", "renew", "leave"]


def some(choose: random.Random) -> list[Device]:
    """Return devices: one, a few in a row, or many anywhere."""
    kind = choose.randrange(3)
    if kind == 0:
        return [choose.choice(DEVICES)]
    if kind == 1:
        at = choose.randrange(len(DEVICES))
        return DEVICES[at : at + choose.choice([20, 400])]
    return choose.sample(DEVICES, choose.choice([5, 300, 1500]))


def command(choose: random.Random, kind: str) -> Message:
    given: Message = {"type": kind, "id": 1, "channel": choose.choice(["telemetry", "telemetry", "alerts"])}
    if choose.random() < 0.9:
        given["device_id"] = some(choose)
    if kind == "subscribe" and choose.random() < 0.5:
        key = "metrics" if given["channel"] == "telemetry" else "severity"
        given[key] = choose.sample(["a", "b", "c"], choose.choice([1, 2]))
    return given


class Crowd:
    """Some clients of a server, and what the oracle thinks of them."""

    def __init__(self, server: Server, choose: random.Random) -> None:
        self.server = server
        self.choose = choose
        self.pairs: list[tuple[Client, Connection]] = []

    def scope(self) -> Scope:
        if self.choose.random() < 0.6:
            return Scope()
        return Scope(devices=frozenset(self.choose.sample(DEVICES, self.choose.choice([3, 1000]))))

    async def step(self, kind: str) -> None:
        client, connection = self.choose.choice(self.pairs)
        if kind == "renew":
            scope = self.scope()
            await client.ask(type="auth", token=self.server.token(devices=scope.devices))
            assert await client.settled() == connection.renew(scope)
        elif kind == "leave":
            self.pairs.remove((client, connection))
            client.close()
            await until(lambda: client.session in self.server.host.closed_sessions)
            await self.come()
        elif kind == "publish":
            await self.publish()
        else:
            given = command(self.choose, kind)
            answer = without_text(await client.ask(**given))
            assert answer == getattr(connection, kind)(given)

    async def come(self) -> None:
        scope = self.scope()
        client = await self.server.login(self.server.token(devices=scope.devices))
        self.pairs.append((client, Connection(scope)))

    async def publish(self) -> None:
        messages = [telemetry(device, a=1, b=2) for device in self.choose.sample(DEVICES, 30)]
        for message in messages:
            expected = sum(connection.receive(message)[1] for _, connection in self.pairs)
            assert self.server.hub.publish(message) == expected
        received = await self.server.settled(*[client for client, _ in self.pairs])
        for (_, connection), got in zip(self.pairs, received, strict=True):
            delivered = [connection.receive(message)[0] for message in messages]
            assert got == [message for message in delivered if message is not None]

    def check(self) -> None:
        assert sizes(self.server) == index_sizes([connection for _, connection in self.pairs])


@pytest.mark.parametrize("seed", range(6))
async def test_thousands_of_devices_come_and_go(seed: int) -> None:
    choose = random.Random(seed)
    async with Server(message_size=0, device_ids=0, frame_size=0) as server:
        crowd = Crowd(server, choose)
        for _ in range(4):
            await crowd.come()
        for _ in range(STEPS):
            await crowd.step(choose.choice(KINDS))
            crowd.check()
        await crowd.publish()
        # What is left goes in pieces, and then the rest.
        for client, connection in crowd.pairs:
            devices = choose.sample(DEVICES, len(DEVICES))
            for at in range(0, len(devices), 137):
                given: Message = {"type": "unsubscribe", "id": 1, "channel": "telemetry"}
                given["device_id"] = devices[at : at + 137]
                assert without_text(await client.ask(**given)) == connection.unsubscribe(given)
            crowd.check()
        for client, _ in crowd.pairs:
            for channel in ("telemetry", "alerts"):
                await client.write(text({"type": "unsubscribe", "channel": channel}))
            await client.settled()
        assert server.hub.index.stats() == EMPTY_INDEX
