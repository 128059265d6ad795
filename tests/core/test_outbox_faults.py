"""The outbox against a kernel that takes a part, or nothing, at every byte: what the peer reads is exact.

Each test runs in a process of its own, with faulty_kernel.c before the C library.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from errno import EINTR
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import pytest
from orjson import loads

from core.faulty_kernel import Kernel, Way, under_a_faulty_kernel
from core.harness import Message, Server, subscriber, telemetry, until
from core.wire_client import PING, PONG, frame, text
from valtronics_fast._core.checks import check_hub
from valtronics_fast._core.encode import encode, text_frame

if TYPE_CHECKING:
    from core.wire_client import Client

MANY = 70  # more frames than one sendmsg() takes
PARALLEL = 40  # connections, each of which is cut elsewhere


class Piece(NamedTuple):
    """A frame of a turn; answers do not wait behind data."""

    frame: bytes
    is_answer: bool = False


def data(device: int, n: int, size: int = 0) -> tuple[Message, Piece]:
    message = telemetry(device, n=n, text="x" * size) if size else telemetry(device, n=n)
    return message, Piece(encode(message))


def pong(payload: bytes) -> Piece:
    return Piece(bytes((0x80 | PONG, len(payload))) + payload, is_answer=True)


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece.frame for piece in pieces)


def stream(turn: list[Piece], taken: int, later: list[Piece], *, blocked: bool) -> bytes:
    """Return what the peer gets of a turn of which the kernel takes so many bytes, and of what comes later.

    blocked: the transport does not take the rest either, until what comes later is there. The frame that was cut
    is then finished first; behind it all answers go before all data.
    """
    ends = list(accumulate(len(piece.frame) for piece in turn))
    if not blocked or taken >= ends[-1]:
        return joined(turn + later)
    first = bisect_right(ends, taken) + 1  # of those behind the cut
    rest = turn[first:] + later
    ahead = [piece for piece in rest if piece.is_answer]
    return joined(turn[:first] + ahead + [piece for piece in rest if not piece.is_answer])


class Cuts:
    """Turns of PARALLEL connections, each cut at another byte.

    Args:
        clients: they have subscribed to device 0, or each to its own number.
        turns: what each is to get.
        blocked: the transport takes nothing until release().
    """

    def __init__(self, server: Server, clients: list[Client], turns: list[list[Piece]], *, blocked: bool) -> None:
        self.server, self.clients, self.turns, self.blocked = server, clients, turns, blocked
        self.kernel = Kernel()
        self.sizes = [len(joined(turn)) for turn in turns]
        self.taken = [0] * len(clients)

    def places(self) -> range:
        return range(0, max(self.sizes) + 1, PARALLEL)

    def prepare(self, first: int) -> None:
        """Have the kernel take `first` bytes of the first connection's turn, one more of the next one's, ..."""
        self.taken = [min(first + i, size) for i, size in enumerate(self.sizes)]
        for client, taken in zip(self.clients, self.taken, strict=True):
            self.kernel.set(client, Way.OUTBOX, [taken])
            self.kernel.set(client, Way.TRANSPORT, [0] if self.blocked else [], repeats=self.blocked)

    async def written(self) -> None:
        """Wait until the kernel has been asked, and the transports too where there is a rest."""
        await until(lambda: not any(self.kernel.left(client, Way.OUTBOX) for client in self.clients))
        cut = [client for client, taken, size in zip(self.clients, self.taken, self.sizes, strict=True) if taken < size]
        await until(lambda: all(self.kernel.calls(client, Way.TRANSPORT) for client in cut))
        check_hub(self.server.hub)

    async def ping(self, payload: bytes) -> None:
        """Send pings, and wait until the server has read them."""
        before = [client.session.bytes_in for client in self.clients]
        for client in self.clients:
            await client.send(PING, payload)
        await until(lambda: all(c.session.bytes_in > b for c, b in zip(self.clients, before, strict=True)))

    async def read(self, later: list[list[Piece]]) -> None:
        """Let the transports write, and compare what comes with what must come; nothing may follow."""
        for client in self.clients:
            self.kernel.set(client, Way.TRANSPORT)
        for client, turn, taken, after in zip(self.clients, self.turns, self.taken, later, strict=True):
            expected = stream(turn, taken, after, blocked=self.blocked)
            assert await client.read_exactly(len(expected)) == expected, taken
        assert await self.server.settled(*self.clients) == [[]] * len(self.clients)
        assert all(client.session.queued_bytes == 0 for client in self.clients)


async def cut_everywhere(sizes: list[int], *, shared: bool, blocked: bool) -> None:
    """Cut a turn of data frames of these sizes at every byte, and let data and an answer come before the rest goes."""
    async with Server(queue_limit=0) as server:
        clients = [await subscriber(server, device_id=0 if shared else i) for i in range(PARALLEL)]
        made = [[data(i, n, size) for n, size in enumerate(sizes)] for i in range(1 if shared else PARALLEL)]
        turns = [[piece for _, piece in turn] for turn in made]
        cuts = Cuts(server, clients, turns * PARALLEL if shared else turns, blocked=blocked)
        for first in cuts.places():
            refused = server.hub.turn.refused
            cuts.prepare(first)
            for turn in made:
                for message, _ in turn:
                    server.hub.publish(message)
            await cuts.written()
            assert server.hub.turn.refused - refused >= sum(
                taken < size for taken, size in zip(cuts.taken, cuts.sizes, strict=True)
            )
            late = [data(i, MANY + first) for i in range(len(made))]
            for message, _ in late:
                server.hub.publish(message)
            await cuts.ping(b"late")
            await cuts.read([[late[0 if shared else i][1], pong(b"late")] for i in range(PARALLEL)])


@pytest.mark.parametrize("blocked", [False, True], ids=["rest taken", "rest refused"])
@under_a_faulty_kernel
async def test_a_turn_is_cut_at_every_byte(blocked: bool) -> None:
    """One frame, several, and with headers of 2 and 4 bytes; each connection has its own, or they share them."""
    for sizes in ([0], [0, 1, 2, 3, 4], [120, 0, 300]):
        await cut_everywhere(sizes, shared=False, blocked=blocked)
    await cut_everywhere([0] * 5, shared=True, blocked=blocked)


@pytest.mark.parametrize(
    ("shared", "blocked"), [(True, False), (False, True)], ids=["shared, rest taken", "own, rest refused"]
)
@under_a_faulty_kernel
async def test_a_turn_of_many_frames_is_cut_at_every_byte(shared: bool, blocked: bool) -> None:
    await cut_everywhere([0] * MANY, shared=shared, blocked=blocked)


@pytest.mark.parametrize("blocked", [False, True], ids=["rest taken", "rest refused"])
@under_a_faulty_kernel
async def test_a_turn_with_answers_between_its_data_is_cut_at_every_byte(blocked: bool) -> None:
    """Answers go before data that waits, and never into a frame."""
    error = {"type": "unsubscribe", "id": 9, "channel": "alerts"}
    async with Server(queue_limit=0) as server:
        clients = [await server.login(server.token(publish=15)) for _ in range(PARALLEL)]
        commands, turns = [], []
        for i, client in enumerate(clients):
            await client.ask(type="subscribe", id=1, channel="telemetry", device_id=i)
            await client.say(**error)
            refusal = Piece(text_frame(loads((await client.receive()).payload)), is_answer=True)
            sent, turn = b"", []
            for n, kind in enumerate("dpddedpd"):
                if kind == "d":
                    message, piece = data(i, n)
                    sent += text({"type": "publish", "message": message})
                elif kind == "p":
                    piece = pong(b"%d" % n)
                    sent += frame(PING, b"%d" % n)
                else:
                    piece = refusal
                    sent += text(error)
                turn.append(piece)
            commands.append(sent)
            turns.append(turn)
        cuts = Cuts(server, clients, turns, blocked=blocked)
        for first in cuts.places():
            cuts.prepare(first)
            for client, sent in zip(clients, commands, strict=True):
                await client.write(sent)
            await cuts.written()
            await cuts.read([[] for _ in clients])


@pytest.mark.parametrize("seed", range(3))
@under_a_faulty_kernel
async def test_any_sequence_of_parts_and_refusals(seed: int) -> None:
    """Whatever the kernel takes of whatever is written, on both ways: all of it comes, data and answers in order."""
    kernel, choose = Kernel(), random.Random(seed)
    async with Server(queue_limit=0) as server:
        clients = [await subscriber(server, device_id=[0, i + 1]) for i in range(12)]
        pieces: list[list[bytes]] = [[] for _ in clients]
        before = [(client.session.messages_out, client.session.bytes_out) for client in clients]
        for turn in range(60):
            for client in clients:
                if choose.random() < 0.5:
                    outcomes = choose.choices([0, 1, 2, 50, 199, 1000, 5000, -EINTR], k=choose.randrange(6))
                    kernel.set(client, Way.OUTBOX, outcomes)
                if choose.random() < 0.3:
                    outcomes = choose.choices([0, 0, 1, 30, 400, -EINTR], k=choose.randrange(12))
                    kernel.set(client, Way.TRANSPORT, outcomes)
            for _ in range(choose.randrange(10)):
                device = choose.choice([0, 0, *range(1, 13)])
                message, piece = data(device, choose.randrange(10**6), choose.choice([0, 0, 200, 3000]))
                assert server.hub.publish(message) == (1 if device else len(clients))
                for i in [device - 1] if device else range(len(clients)):
                    pieces[i].append(piece.frame)
            for client in choose.sample(clients, 4):
                await client.send(PING, b"%d" % turn)
            await asyncio.sleep(choose.choice([0, 0, 0.001]))
        for client in clients:
            kernel.set(client, Way.OUTBOX)
            kernel.set(client, Way.TRANSPORT)
            await client.send(PING, b"last")
        for client, expected, (messages_out, bytes_out) in zip(clients, pieces, before, strict=True):
            heard: list[bytes] = []
            pongs: list[bytes] = []
            while len(heard) < len(expected) or pongs[-1:] != [b"last"]:
                received = await client.receive()
                if received.opcode == PONG:
                    pongs.append(received.payload)
                else:
                    heard.append(received.payload)
            assert all(message.endswith(payload) for message, payload in zip(expected, heard, strict=True))
            assert pongs[:-1] == sorted(pongs[:-1], key=int)
            sent = sum(map(len, expected)) + sum(2 + len(payload) for payload in pongs)
            assert client.session.messages_out - messages_out == len(expected)
            assert client.session.bytes_out - bytes_out == sent
        assert await server.settled(*clients) == [[]] * len(clients)
        assert server.hub.turn.refused > 100
