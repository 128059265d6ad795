"""Memory stays flat, however long subscriptions and connections come and go.

Each test runs in a process of its own, in which every object is an allocation of the C library's, which counts them.
"""

from __future__ import annotations

import ctypes
import gc
import random
from typing import TYPE_CHECKING

import pytest

from core.apart import apart
from core.harness import EMPTY_INDEX, Message, Server, telemetry, until
from core.wire_client import CLOSE, text
from valtronics_fast._core.hub import Hub

if TYPE_CHECKING:
    from core.wire_client import Client

# tcache: what is free in a cache of the thread's would count as used.
counted = apart(lambda: {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})
GROWTH = 128 << 10  # bytes: the tables' largest sizes so far, not one small object for every 20th cycle
CHANNELS = ["telemetry", "telemetry", "alerts", "devices", "system"]


class _Counters(ctypes.Structure):
    """What mallinfo2() gives."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "keepcost")
    )


def allocated() -> int:
    """Return the bytes that are allocated in this process."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "__sanitizer_get_current_allocated_bytes"):  # its allocator is another one
        library.__sanitizer_get_current_allocated_bytes.restype = ctypes.c_size_t
        return int(library.__sanitizer_get_current_allocated_bytes())
    library.mallinfo2.restype = _Counters
    counters = library.mallinfo2()
    return int(counters.used + counters.hblkhd)


def subscription(choose: random.Random) -> Message:
    """Return a subscribe command: any channel, devices and names out of thousands, or none."""
    command: Message = {"type": "subscribe", "channel": choose.choice(CHANNELS)}
    if command["channel"] != "system" and choose.random() < 0.8:
        command["device_id"] = [choose.choice([choose.randrange(3000), f"pump {choose.randrange(3000)}"])
                                for _ in range(choose.choice([1, 1, 2, 5]))]
    if choose.random() < 0.7:
        key = {"telemetry": "metrics", "system": "metrics", "alerts": "severity", "devices": "status_types"}
        command[key[command["channel"]]] = [f"m{choose.randrange(3000)}" for _ in range(choose.choice([1, 2, 3]))]
    return command


def publication(choose: random.Random) -> Message:
    """Return a message of 20 metrics out of those that subscriptions ask for."""
    return telemetry(choose.randrange(3000), **{f"m{n}": 1 for n in choose.sample(range(3000), 20)})


async def cycle(server: Server, clients: list[Client], choose: random.Random) -> None:
    """Have each client subscribe 25 times, and unsubscribe from all of it: by devices, and what is left by channel."""
    endings = []
    for client in clients:
        given = [subscription(choose) for _ in range(25)]
        await client.write(text({"type": "batch", "messages": given}))
        taken = [one | {"type": "unsubscribe"} for one in choose.sample(given, 25)]
        taken += [{"type": "unsubscribe", "channel": channel} for channel in set(CHANNELS)]
        endings.append(text({"type": "batch", "messages": taken}))
    await server.settled(*clients)
    for _ in range(3):
        server.hub.publish(publication(choose))
    for client, ending in zip(clients, endings, strict=True):
        await client.write(ending)
    await server.settled(*clients)


@pytest.mark.timeout(600)
@counted
async def test_a_hundred_thousand_subscriptions_leave_nothing_behind() -> None:
    choose = random.Random(1)
    async with Server(max_latest=128 << 10) as server:
        clients = [await server.login() for _ in range(4)]
        done, sizes = 0, []
        while done < 100_000:
            await cycle(server, clients, choose)
            done += 25 * len(clients)
            if done % 20_000 == 0:
                assert all(client.session.subscription_count == 0 for client in clients)
                assert server.hub.index.stats() == EMPTY_INDEX
                await cycle(server, clients, random.Random(0))  # the same before each count
                sizes.append(allocated())
        assert sizes[-1] - sizes[0] < GROWTH, sizes


KINDS: dict[str, Message] = {
    "telemetry": telemetry(1, temperature="x" * 300, humidity="x" * 300),
    "telemetry of one number": telemetry(1, temperature=23.5),
    "alerts": {"type": "alert", "device_id": 1, "severity": "info", "title": "Hot", "message": "x" * 1000},
    "short alerts": {"type": "alert", "device_id": 1, "severity": "info", "title": "Hot"},
    "statuses": {"type": "device_status_update", "device_id": 1, "old_status": "on", "new_status": "off"},
}


@pytest.mark.parametrize("kind", KINDS)
@counted
async def test_what_is_kept_takes_no_more_than_is_counted(kind: str) -> None:
    """Devices that come and go, so that the newest values and the history are both filled and both let go of much."""
    hub = Hub(lambda flush: None, 0, max_latest=1 << 20, history=10_000, history_size=4 << 20)
    hub.publish(KINDS[kind], 0)
    before = allocated()
    for device in range(10_000):
        hub.publish(KINDS[kind] | {"device_id": device}, 0)
    counted_bytes = sum(history.nbytes for history in hub.histories)
    counted_bytes += sum(table.nbytes for table in hub.latest if table is not None)
    assert counted_bytes > 2 << 20
    assert allocated() - before < 1.5 * counted_bytes


async def visit(server: Server, choose: random.Random) -> None:
    """Connect three clients, give them something to read, and have them go, in three ways."""
    clients = [await server.login(server.token("alice"), receive_buffer=4096) for _ in range(3)]
    for client in clients:
        await client.write(b"".join(text(subscription(choose) | {"id": n}) for n in range(3)))
        await client.ask(type="subscribe", channel="telemetry", id="all", metrics=["n"])
    for n in range(20):
        server.hub.publish(telemetry(1, n=n, text="x" * 5000))
    await clients[0].settled()
    clients[0].session.disconnect(1012)
    await clients[0].closing()
    await clients[0].send(CLOSE, (1012).to_bytes(2, "big"))
    await clients[1].say(type="ping")
    clients[1].reset()
    clients[2].close()
    await until(lambda: not server.hub.connections())
    clients[0].close()
    # What the harness keeps of them for the end of the test.
    server.clients.clear()
    for kept in (server.host.opened_sessions, server.host.closed_sessions, server.host.users):
        kept.clear()
    server.host.grants.clear()
    server._sessions.clear()


@pytest.mark.timeout(600)
@counted
async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    choose = random.Random(1)
    async with Server(send_buffer=4096) as server:
        sizes = []
        for visits in range(1, 601):
            await visit(server, choose)
            if visits % 100 == 0:
                await visit(server, random.Random(0))
                assert server.hub.index.stats() == EMPTY_INDEX
                sizes.append(allocated())
        assert sizes[-1] - sizes[0] < GROWTH, sizes
