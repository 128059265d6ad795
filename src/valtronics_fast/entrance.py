"""What lies before the door: the PROXY header and the TLS handshake of an accepted socket.

    accepted --> READING --the header is complete--> SECURING --TLS is up--> DONE: a Front has the socket
                    |      (with proxy_protocol)        |     (with tls)
                    `-- malformed, too late ------------+--> DONE: the socket is cut

Where neither is configured a socket has no Entrance, but begins as a `Front`. An Entrance stands in the same table
of half-open sockets, so that strangers in the TLS handshake are bounded in number and time with all the others. TLS
is begun here, by hand, and not by `create_server`, for that reason, and because the context may be another one for
the next connection (`ServerTls.reload`), a header may come before it, and a banned address is not worth it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import TYPE_CHECKING, Final, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # what uvloop's own create_server uses

from valtronics_fast.addresses import UNKNOWN_ADDRESS, peer_address
from valtronics_fast.front import Front
from valtronics_fast.proxy_protocol import ProxyHeaderError, bytes_wanted, parse_header
from valtronics_fast.refusals import Reason

if TYPE_CHECKING:
    from valtronics_fast.reception import Reception

__all__ = ["Entrance"]

_READING, _SECURING, _DONE = range(3)

_NO_CERTIFICATE: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


class Entrance(asyncio.BufferedProtocol):
    """One accepted socket, until its PROXY header and its TLS handshake are done.

    Attributes:
        deadline: when `expire` is due, in seconds of the loop's clock.
    """

    __slots__ = ("_address", "_received", "_reception", "_state", "_tells_address", "_transport", "deadline")

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._transport: asyncio.Transport
        self._state = _READING
        self._received = b""
        self._address = ""
        self._tells_address = True
        self.deadline = reception.now() + reception.timeout

    # --- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take charge of an accepted socket; then, with TLS, give it away once that handshake is done."""
        if self._state == _SECURING:
            self._give_away(cast("asyncio.Transport", transport))
            return
        self._transport = cast("asyncio.Transport", transport)
        self._address = peer_address(transport)
        self._reception.enter(self)
        if self._address == UNKNOWN_ADDRESS:
            self.drop(Reason.GONE)
        elif not self._reception.proxy_protocol:
            self._go_on()
        elif not self._reception.trusted.include(self._address):
            self.drop(Reason.UNTRUSTED_PROXY)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - part of the interface
        """Lend as much of the buffer of all fronts as the header still needs: never zero, for then it is complete."""
        return self._reception.scratch[: bytes_wanted(self._received)]

    def buffer_updated(self, nbytes: int) -> None:
        """Look whether the header is complete."""
        self._received += bytes(self._reception.scratch[:nbytes])
        try:
            if bytes_wanted(self._received):
                return
            told = parse_header(self._received)
        except ProxyHeaderError:
            self.drop(Reason.PROXY_HEADER)
            return
        self._tells_address = told is not None
        if told is not None:
            self._address = str(told)
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - part of the interface
        """Forget the socket."""
        if self._state == _READING:
            self._count(Reason.GONE)
        self._leave()

    # --- called by the reception

    def expire(self) -> None:
        """Cut a socket whose time is over."""
        if self._state == _SECURING:
            self.drop(Reason.TLS_TIMEOUT)
        else:
            self.drop(Reason.PROXY_TIMEOUT if self._received else Reason.IDLE)

    def drop(self, reason: Reason) -> None:
        """Cut the socket."""
        self._count(reason)
        self._leave()
        self._transport.abort()

    # --- going on

    def _go_on(self) -> None:
        """Begin TLS, or give the socket away."""
        tls = self._reception.tls
        if tls is None:
            self._give_away(self._transport)
            return
        if self._reception.suspects.banned(self._address):
            self.drop(Reason.BANNED)  # without an answer: that would take a TLS handshake
            return
        if not self._reception.gate.permits_tls(self._address):
            self.drop(Reason.TLS_RATE)
            return
        self._state = _SECURING
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        ended.add_done_callback(self._on_tls_ended)
        protocol = SSLProtocol(
            loop,
            self,
            tls.context,
            ended,
            server_side=True,
            ssl_handshake_timeout=math.inf,  # `expire` does it
            ssl_shutdown_timeout=tls.shutdown_timeout,
        )
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def _on_tls_ended(self, ended: asyncio.Future[None]) -> None:
        """Note why a TLS handshake failed; one that went well gave the socket away before."""
        error = ended.exception()
        if self._state != _SECURING:
            return
        if not isinstance(error, ssl.SSLError):
            self._count(Reason.GONE)
        elif isinstance(error, ssl.SSLCertVerificationError) or error.reason == _NO_CERTIFICATE:
            self._count(Reason.CLIENT_CERTIFICATE)
        else:
            self._count(Reason.TLS_FAILED)
        self._leave()

    def _give_away(self, transport: asyncio.Transport) -> None:
        """Let a front go on with the socket."""
        self._leave()
        front = Front(self._reception, self._address, forwarded=self._tells_address)
        transport.set_protocol(front)
        front.connection_made(transport)

    def _count(self, reason: Reason) -> None:
        self._reception.count(reason, self._address, "")

    def _leave(self) -> None:
        """Be done with the socket: no deadline any more."""
        self._state = _DONE
        self._reception.leave(self)
