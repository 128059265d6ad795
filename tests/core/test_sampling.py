"""A sample of the messages: how many are picked, and what is told of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from core.harness import Server, subscriber, telemetry
from valtronics_fast._core.sampling import Sampler
from valtronics_fast._core.wire import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

Told = tuple[str, int, str | None, str | None, int]


class Log:
    """What is told, and when."""

    def __init__(self) -> None:
        self.lines: list[Told] = []
        self.waiting: list[Callable[[], None]] = []

    def add(self, *line: Any) -> None:
        self.lines.append(line)  # type: ignore[arg-type]

    def end_turn(self) -> list[Told]:
        """End the turn; return what it told."""
        for tell in self.waiting:
            tell()
        self.waiting.clear()
        lines, self.lines = self.lines, []
        return lines


def sampling(server: Server, fraction: float = 1.0) -> Log:
    log = Log()
    server.hub.sampler = Sampler(fraction, log.waiting.append, log.add)
    return log


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_what_is_no_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        Sampler(fraction, lambda _: None, lambda *_: None)


async def test_everything_is_told_of_a_fraction_of_1() -> None:
    async with Server() as server:
        client = await server.login()
        log = sampling(server)
        number = client.session.number
        answer = await client.ask(type="subscribe", id=1, channel="telemetry", device_id=1)
        asked, answered = log.end_turn()
        assert (*asked[:4], *answered[:4]) == (
            "in", number, "subscribe", "telemetry", "out", number, "subscribe_response", "telemetry",
        )  # fmt: skip
        assert asked[4] > 40
        assert answered[4] > len(str(answer)) // 2
        assert server.hub.publish(telemetry(1, t=1)) == 1
        ((direction, connection, kind, channel, size),) = log.end_turn()
        assert (direction, connection, kind, channel) == ("out", number, "telemetry_update", "telemetry")
        assert size == server.hub.stats()["telemetry"]["bytes"]
        await client.hear()
        assert (await client.ask(type="subscribe", channel="nothing"))["error"] == "unknown_channel"
        assert [line[2:4] for line in log.end_turn()] == [("subscribe", None), ("error", None)]


@pytest.mark.parametrize(
    "text", [b"no json", b"[]", b'{"type":"\\r\\nforged"}', b'{"type":7,"channel":"\\u0000"}', b'{"channel":["a"]}']
)
async def test_what_a_client_made_up_is_not_told(text: bytes) -> None:
    async with Server() as server:
        client = await server.login()
        log = sampling(server)
        await client.send(Opcode.OP_TEXT, text)
        await client.hear()
        asked, answered = log.end_turn()
        assert asked[2:] == (None, None, len(text))
        assert answered[:3] == ("out", client.session.number, "error")


async def test_messagepack_is_told_like_json() -> None:
    async with Server() as server:
        client = await server.connect(msgpack=True, grant=server.host.grants[server.token()])
        log = sampling(server)
        await client.send(Opcode.OP_BINARY, msgspec.msgpack.encode({"type": "ping", "id": 1}))
        await client.receive()
        assert [line[2] for line in log.end_turn()] == ["ping", "pong"]


async def test_nothing_is_told_before_the_end_of_the_turn_and_of_a_turn_no_more_than_1000() -> None:
    async with Server() as server:
        clients = [await subscriber(server) for _ in range(3)]
        log = sampling(server)
        for n in range(400):
            server.hub.publish(telemetry(1, n=n))
        assert log.lines == []
        assert len(log.waiting) == 1
        assert len(log.end_turn()) == 1000
        assert server.hub.sampler is not None
        assert server.hub.sampler.untold == 200
        assert [len(messages) for messages in await server.settled(*clients)] == [400] * 3


async def test_those_who_get_nothing_are_not_told() -> None:
    async with Server(queue_mark=2000, send_buffer=4096) as server:
        slow = await subscriber(server, receive_buffer=4096)
        for n in itertools.count():
            server.hub.publish(telemetry(1, n=n, text="x" * 1000))
            if server.hub.behind:
                break
        log = sampling(server)
        server.hub.publish(telemetry(1, n=-1))
        assert log.end_turn() == []
        server.hub.sampler = None
        slow.close()


async def test_who_is_subscribed_twice_is_told_once() -> None:
    async with Server() as server:
        client = await subscriber(server)
        await client.ask(type="subscribe", id=2, channel="telemetry", device_id=1)
        log = sampling(server)
        server.hub.publish(telemetry(1, t=1))
        assert len(log.end_turn()) == 1


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
async def test_each_message_is_picked_with_the_same_probability(fraction: float) -> None:
    """Within six standard deviations: a wrong generator is off by more, a right one once in 10^9 runs."""
    count = 100_000
    async with Server() as server:
        for _ in range(100):
            await subscriber(server)
        log = sampling(server, fraction)
        picked: dict[int, int] = {}
        total = 0
        with server.held():
            for n in range(count // 100):
                server.hub.publish(telemetry(1, n=n))
                for line in log.end_turn():
                    total += 1
                    picked[line[1]] = picked.get(line[1], 0) + 1
        deviation = (count * fraction * (1 - fraction)) ** 0.5
        assert abs(total - count * fraction) < 6 * deviation
        assert len(picked) > 90 or fraction == 0.01
        server.hub.sampler = None
        for session in server.hub.connections():
            session.abort()
