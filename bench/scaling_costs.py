"""What each step of a publication through a cluster costs, measured here: the numbers that scaling.py reckons with.

    python bench/scaling_costs.py > bench/baselines/costs.json     # half a minute, nothing else running
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from outside import free_port
from socketless import Population, telemetry
from valtronics_fast._core.hub import Hub
from valtronics_fast.backplanes.envelope import Envelope, seal, unseal
from valtronics_fast.backplanes.outgoing import Outgoing
from valtronics_fast.backplanes.redis_log import APPEND

MESSAGES = 100_000
DEVICES = 10_000
WATCHERS = 10  # connections of a device, where what is measured is the match
ROUNDS = 5

WRITE = 6.73e-6
"""CPU seconds of a write (docs/performance.md, Fan-out: 6.78 us with one message in it, 7.12 with 8)."""

APPENDED = 0.05e-6
"""CPU seconds of one more message in the same write, likewise."""


def best(step: object, *, count: int) -> float:
    """Return the CPU seconds of one of `count` things that a call does: the best of some rounds."""
    times = []
    for _ in range(ROUNDS):
        before = time.process_time()
        step()  # type: ignore[operator]
        times.append(time.process_time() - before)
    return min(times) / count


def publisher() -> dict[str, float]:
    """Return what packing costs, and sealing what was packed."""
    hub = Hub(lambda _flush: None, 0.0, shared=True)
    messages = [telemetry(device) for device in range(DEVICES)]

    def pack() -> None:
        for message in messages:
            hub.pack(message)

    packed = [hub.pack(message) for message in messages]

    def collect() -> None:
        outgoing = Outgoing(1, 1 << 30)
        for lane, packet in packed:
            outgoing.add(lane, packet, apart=False)
        while outgoing:
            outgoing.acknowledge(len(outgoing.take()))

    return {"pack": best(pack, count=DEVICES), "collect": best(collect, count=DEVICES),
            "packet_bytes": sum(len(packet) for _, packet in packed) / DEVICES}  # fmt: skip


def envelope_of(hub: Hub, messages: list[dict[str, object]]) -> bytes:
    return seal(Envelope(1, 1, len(messages), b"".join(hub.pack(message)[1] for message in messages)))


def receiver() -> dict[str, float]:
    """Return what a node pays for what comes: a message that nobody wants, an envelope, a match and its copy."""
    messages = [telemetry(device) for device in range(DEVICES)]
    with Population(shared=True, history=10_000, max_latest=0) as crowd:
        hub = crowd.hub
        offset = 0

        def receive(envelopes: list[bytes]) -> None:
            nonlocal offset
            for blob in envelopes:
                envelope = unseal(blob)
                hub.receive(envelope.packets, offset + 1)
                offset += envelope.count
            hub.turn.flush()

        large = [envelope_of(hub, messages[start : start + 100]) for start in range(0, DEVICES, 100)]
        small = [envelope_of(hub, [message]) for message in messages]
        unwanted = best(lambda: receive(large), count=DEVICES)
        alone = best(lambda: receive(small), count=DEVICES)
        if hub.lanes is not None:
            hub.lanes.set_followed(range(256), True)
        chance = random.Random(1)
        for position in range(1000):
            crowd.connect()
            wanted = chance.sample(range(DEVICES), WATCHERS * DEVICES // 1000)
            crowd.command(position, {"type": "subscribe", "channel": "telemetry", "device_id": wanted})
        crowd.shut()  # nothing is written any more, but it is still matched, encoded and counted
        matched = best(lambda: receive(large), count=DEVICES)
    return {"receive": unwanted, "envelope": alone - unwanted, "match": (matched - unwanted) / WATCHERS}


def log_server() -> dict[str, float]:
    """Return the CPU seconds of Redis for an envelope, for a copy of it to a node, and for a kilobyte of each."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", directory, "--bind", "127.0.0.1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                client = _connected(port)
                costs = {(size, nodes): _appended(client, server.pid, size, nodes, port)
                         for size in (256, 65_536) for nodes in (0, 4)}  # fmt: skip
            finally:
                server.terminate()
    kilobytes = (65_536 - 256) / 1024
    entry = costs[256, 0]
    copy = (costs[256, 4] - costs[256, 0]) / 4
    return {
        "log_entry": entry,
        "log_kilobyte": (costs[65_536, 0] - entry) / kilobytes,
        "log_copy": copy,
        "log_copy_kilobyte": ((costs[65_536, 4] - costs[65_536, 0]) / 4 - copy) / kilobytes,
    }


def _connected(port: int) -> redis.Redis:
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return client


def _appended(client: redis.Redis, pid: int, size: int, nodes: int, port: int) -> float:
    """Return the server's CPU seconds for an entry of this size that so many nodes follow."""
    script = client.register_script(APPEND)
    readers = [subprocess.Popen([sys.executable, __file__, "reader", str(port)]) for _ in range(nodes)]
    try:
        while client.pubsub_numsub("log:1")[0][1] < nodes:
            time.sleep(0.02)
        blob = os.urandom(size)
        rounds = 300 if size > 1000 else 1000
        before = _cpu(pid)
        for _ in range(rounds):
            script(["log"], [1000, *[value for _ in range(16) for value in (1, 1, blob)]])
        time.sleep(0.3)
        return (_cpu(pid) - before) / (rounds * 16)
    finally:
        for reader in readers:
            reader.terminate()
            reader.wait()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(port: int) -> None:
    listener = redis.Redis(port=port).pubsub()
    listener.subscribe("log:1")
    for _ in listener.listen():
        pass


if __name__ == "__main__":
    if sys.argv[1:2] == ["reader"]:
        _read(int(sys.argv[2]))
    else:
        found = {**publisher(), **receiver(), **log_server(), "write": WRITE, "appended": APPENDED}
        print(json.dumps(found, indent=2))
