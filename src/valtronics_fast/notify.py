"""Telling systemd how the service is (sd_notify(3)), or whoever else has set NOTIFY_SOCKET.

Our own: the protocol is one datagram, and the library of systemd's project needs its C headers to be installed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING

from valtronics_fast.logging import fields, limited

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

__all__ = ["Notifier"]

_log: logging.Logger = limited(__name__)


class Notifier:
    """Sends the state of the service; does nothing where nobody wants to know.

    Nothing here blocks or raises: a service is not to fail for the one who watches it.

    Args:
        environ: has NOTIFY_SOCKET (a path, or `@` and a name of the abstract namespace), WATCHDOG_USEC and
            WATCHDOG_PID; None is this process's own environment.

    Attributes:
        interval: seconds between two signs of life: half of what the watchdog waits; 0.0: it does not watch.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self.interval = 0.0
        microseconds = environ.get("WATCHDOG_USEC", "")
        if microseconds.isdecimal() and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.interval = int(microseconds) / 2e6
        self._timer: asyncio.TimerHandle | None = None

    def ready(self, status: str) -> None:
        """The service is up, or has done with reloading; `status` is a line for people."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The service is on its way down."""
        self._send("STOPPING=1", f"STATUS={status}")

    def keep_alive(self) -> None:
        """Give signs of life from the event loop, from now on: none comes while it hangs."""
        if self._socket is not None and self.interval:
            self._send("WATCHDOG=1")
            self._timer = asyncio.get_running_loop().call_later(self.interval, self.keep_alive)

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            _log.warning("the service manager can't be told", extra=fields(state=lines[0], problem=error))
