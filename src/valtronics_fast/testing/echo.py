"""A WebSocket server that sends back what comes, for conformance tests.

    python -m valtronics_fast.testing.echo PORT

It stands on what the product stands on, the handshake and the core's `Connection`, with no limit on rates and large
ones on sizes. The endpoint is `/ws`, and every origin may come. For the Autobahn test suite:
`wstest -m fuzzingclient -s SPEC`, where SPEC names `ws://127.0.0.1:PORT/ws` (CONTRIBUTING.md).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, Self

import uvloop

from valtronics_fast._core.connection import Limits
from valtronics_fast._core.echo import Echo
from valtronics_fast._core.hub import Hub
from valtronics_fast.addresses import TrustedProxies
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.handshake import Policy
from valtronics_fast.listening import listen
from valtronics_fast.origins import Origins
from valtronics_fast.reception import Reception
from valtronics_fast.suspects import Suspects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from valtronics_fast._core.scope import Grant
    from valtronics_fast.handshake import Upgrade
    from valtronics_fast.refusals import Refusal

__all__ = ["LIMITS", "EchoServer", "main"]

LIMITS: Final[dict[str, float]] = {
    "frame_size": 64 << 20,
    "fragments": 1 << 20,
    "queue_limit": 256 << 20,
    "close_timeout": 2,
}
"""Bounds of an echo's connection; what is not named here has none."""


class _Gate:
    """Lets everybody in (see `front.Gate`)."""

    def __init__(self, hub: Hub, limits: Limits) -> None:
        self._hub = hub
        self._limits = limits

    def permits_tls(self, address: str, /) -> bool:  # noqa: ARG002 - Gate's signature
        """Return True: nobody uses TLS here."""
        return True

    def refuse_early(self, upgrade: Upgrade, address: str, /) -> Refusal | None:  # noqa: ARG002 - Gate's signature
        """Return None: there is room."""
        return None

    def authenticate(self, upgrade: Upgrade, address: str, /) -> Grant | None:  # noqa: ARG002
        """Return None: tokens do not matter here."""
        return None

    def open_session(self, upgrade: Upgrade, address: str, grant: Grant | None, /) -> Echo:  # noqa: ARG002
        """Return the connection's listener."""
        return Echo(self._hub, self._limits, deflate=0 if upgrade.deflate is None else upgrade.deflate.bits)


class EchoServer:
    """The server, within one event loop; for `async with`.

    Args:
        port: where it listens; 0 lets the system pick a free one.
        limits: what differs from LIMITS.

    Attributes:
        port: the one in use.
        hub: knows the connections.
        reception: knows the handshakes.
    """

    def __init__(self, port: int = 0, **limits: float) -> None:
        self.port = port
        self._limits = Limits(**{**LIMITS, **limits})
        self._listeners: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self.hub: Hub
        self.reception: Reception

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.hub = Hub(loop.call_soon, time.monotonic())
        self.reception = Reception(
            _Gate(self.hub, self._limits),
            policy=Policy(Origins(["*"]), compression=True),
            trusted=TrustedProxies([]),
            suspects=Suspects(SecurityConfig()),
            health=lambda: {"status": "ok"},
            timeout=5.0,
            max_frame_size=self._limits.frame_size,
        )
        for sock in await listen("127.0.0.1", self.port):
            self.port = int(sock.getsockname()[1])
            self._listeners.append(await loop.create_server(self.reception.protocol, sock=sock))
        self._tick()
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        self.reception.close()
        for connection in self.hub.connections():
            connection.abort()
        while self.hub.connections():  # noqa: ASYNC110 - a turn or two of the loop
            await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        """Let the connections' timers fire, and come again."""
        self.hub.advance(time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(self.hub.tick, self._tick)


async def _serve(port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with EchoServer(port) as server:
        sys.stdout.write(f"ws://127.0.0.1:{server.port}/ws\n")
        sys.stdout.flush()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on a port, and print the URL once it can be connected to."""
    parser = argparse.ArgumentParser(prog="python -m valtronics_fast.testing.echo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("port", type=int, help="the port on 127.0.0.1; 0: a free one")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args(arguments).port))


if __name__ == "__main__":
    main()
