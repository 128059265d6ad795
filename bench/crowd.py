"""What a crowd costs that subscribes to many devices at the same moment: memory, and how long it holds up the others.

    python bench/crowd.py [--clients 100] [--devices 10000] [--shared] [--crowds 2]

The server runs in this process, with limits off, the clients in another one. They connect and authenticate, the server
looks away for a second while they send, so that as much as the kernel takes waits for it, and then it goes on until
everybody is subscribed to all devices: each client to its own, or (--shared) all to the same. Then they go.

A turn is one of the event loop's; its length is CPU time, so that other programs don't matter. A message of somebody
else waits for the turn that it comes in. Memory is resident: before, with everybody there, after they have gone, and
when the C library has been asked to give back what is free (as the server does within half a minute).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from fairness import command, connected
from served import config
from valtronics_fast import Server

A_MESSAGE = 110  # devices
MIB = 1 << 20


def resident() -> float:
    """Return this process's resident memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def crowd(port: int, clients: int, devices: int, shared: bool) -> None:
    """Connect, wait for a line, send everything, and wait for another line."""
    socks = [connected(port) for _ in range(clients)]
    left: list[memoryview] = []
    for number in range(clients):
        ids = range(first := 1_000_000 + (0 if shared else number * devices), first + devices)
        parts = [list(ids[at : at + A_MESSAGE]) for at in range(0, devices, A_MESSAGE)]
        commands = [command(type="subscribe", channel="telemetry", device_id=part) for part in parts]
        left.append(memoryview(b"".join(commands)))
        socks[number].setblocking(False)
    print("ready", flush=True)
    sys.stdin.readline()
    while any(left):
        for number, sock in enumerate(socks):
            try:
                left[number] = left[number][sock.send(left[number]) :]
            except BlockingIOError:
                time.sleep(0.0001)
    sys.stdin.readline()


def subscribed(server: Server) -> int:
    """Return how many devices are subscribed to, in sum; stats() would look at each of them."""
    return server._hub.index.entries  # noqa: SLF001


async def turns(server: Server, entries: int) -> list[float]:
    """Return the milliseconds of CPU time that each turn takes until the index has so many entries."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found: list[float] = []
    last = time.thread_time()

    def turn() -> None:
        nonlocal last
        now = time.thread_time()
        found.append((now - last) * 1000)
        last = now
        if subscribed(server) < entries:
            loop.call_soon(turn)
        else:
            done.set()

    loop.call_soon(turn)
    await done.wait()
    return sorted(found)


async def main(clients: int, devices: int, shared: bool, crowds: int) -> None:
    arguments = [str(clients), str(devices), str(int(shared))]
    trim = ctypes.CDLL(None).malloc_trim
    async with Server(config(0)) as server:
        before = resident()
        print(f"before: {before:.1f} MiB")
        for _ in range(crowds):
            with subprocess.Popen(  # noqa: ASYNC220 - the server may wait
                [sys.executable, __file__, "--crowd", str(server.port), *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            ) as process:  # fmt: skip
                assert process.stdin is not None
                assert process.stdout is not None
                await asyncio.to_thread(process.stdout.readline)
                connected_now = resident()
                process.stdin.write(b"\n")
                process.stdin.flush()
                time.sleep(1)  # noqa: ASYNC251 - this is what is measured: much has come meanwhile
                found = await turns(server, clients * devices)
                there = resident()
                process.stdin.write(b"\n")
                process.stdin.close()
                while subscribed(server):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                gone = resident()
                trim(0)
            each = (there - connected_now) * MIB / (clients * devices)
            print(
                f"{clients * devices:,} subscribed devices: {there - before:+.1f} MiB, {each:.0f} bytes each;"
                f" gone: {gone - before:+.1f}, trimmed: {resident() - before:+.1f}"
            )
            longest = ", ".join(f"{length:.1f}" for length in found[: -6 : -1])
            print(f"{sum(found):.0f} ms in {len(found)} turns, the longest: {longest} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--crowds", type=int, default=2)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--crowd", nargs=4, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.crowd:
        crowd(*args.crowd)
    else:
        uvloop.run(main(args.clients, args.devices, args.shared, args.crowds))
