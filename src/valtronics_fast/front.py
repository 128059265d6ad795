"""The door: owns every accepted socket until it is a WebSocket or refused.

picows never parses what a stranger sent. A `Front` collects the request head, has `handshake` judge it, and
answers every refusal itself. Only a good request gets a picows protocol, which then takes over the transport.

    accepted --> READING --head is complete--> judged --> DONE: picows owns the socket
                    |                            | `----> DECIDING: the token needs I/O; reading is paused
                    `--too late, or too large----+------> CLOSING: answered; what still comes is thrown away

Until DONE a socket stands in the `Reception`, which bounds their number, and their time with one timer.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

import orjson

from valtronics_fast._core.scope import Grant
from valtronics_fast.addresses import UNKNOWN_ADDRESS, client_address, peer_address
from valtronics_fast.handshake import (
    HEALTH_PATH,
    MAX_HEAD,
    check_request,
    check_scope,
    negotiate,
    parse_request,
)
from valtronics_fast.refusals import Reason, Refusal, render
from valtronics_fast.websocket import PendingWebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from picows import WSListener

    from valtronics_fast.handshake import Upgrade
    from valtronics_fast.reception import Reception

__all__ = ["MAX_RECEIVED", "Front", "Gate"]

_END: Final = b"\r\n\r\n"

MAX_RECEIVED: Final = MAX_HEAD + len(_END)
"""Bytes that a front takes from its socket before it decides."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a refused client has to read its answer and to close."""

MAX_DISCARDED: Final = 1024 * 1024
"""Bytes that a refused client may still send in that time."""

_READING, _DECIDING, _CLOSING, _DONE = range(4)


class Gate(Protocol):
    """What the server decides: whether TLS may begin, then about a handshake that is good in itself. In this order.

    An exception that is neither a Refusal nor an AuthError is logged and answered 500 "internal error".
    """

    def permits_tls(self, address: str, /) -> bool:
        """Say whether a TLS handshake may begin; it costs much, and is over before the address can be told anything."""

    def refuse_early(self, upgrade: Upgrade, address: str, /) -> Refusal | None:
        """Return why there is no room for this client (the rate of its address, server full), else None."""

    def authenticate(self, upgrade: Upgrade, address: str, /) -> Grant | Awaitable[Grant | None] | None:
        """Return what the token of the handshake permits; None when there is no token.

        An awaitable is cancelled after the handshake timeout, and when the client goes away: what several
        handshakes wait for together must be shielded.

        Raises:
            AuthError: the token is refused.
        """

    def open_session(self, upgrade: Upgrade, address: str, grant: Grant | None, /) -> WSListener:
        """Return the listener of the new connection; its `on_ws_connected` follows before anything else.

        Raises:
            Refusal: there is no room for another connection of this user.
        """


class Front(asyncio.BufferedProtocol):
    """One accepted socket, until it is upgraded or closed.

    Args:
        reception: what all fronts share.
        address: the client's, where a PROXY header told it; "": that of the peer.
        forwarded: whether the peer may say in HTTP headers whose request this is.

    Attributes:
        deadline: when `expire` is due, in seconds of the loop's clock.
    """

    __slots__ = (
        "_address",
        "_discarded",
        "_forwarded",
        "_granting",
        "_head_only",
        "_path",
        "_received",
        "_reception",
        "_state",
        "_transport",
        "deadline",
    )

    def __init__(self, reception: Reception, address: str = "", *, forwarded: bool = True) -> None:
        self._reception = reception
        self._transport: asyncio.Transport
        self._state = _READING
        self._received: bytearray | None = None  # made with the first byte: a silent stranger costs no more
        self._discarded = 0
        self._granting: asyncio.Future[Grant | None] | None = None
        self._address = address
        self._forwarded = forwarded
        self._path = ""
        self._head_only = False
        self.deadline = reception.now() + reception.timeout

    # --- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take charge of an accepted socket (see `entrance` for what may come before)."""
        self._transport = cast("asyncio.Transport", transport)
        self._address = self._address or peer_address(transport)
        self._reception.enter(self)
        if self._address == UNKNOWN_ADDRESS:
            self.drop(Reason.GONE)  # what it has sent may still be there, and would count for nobody's address

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - part of the interface
        """Lend the buffer of all fronts, no more of it than the head may still grow.

        What lies beyond stays in the kernel, so that nothing has to be bounded after it was read.
        """
        return self._reception.scratch[: MAX_RECEIVED - len(self._received or b"")]

    def buffer_updated(self, nbytes: int) -> None:
        """Look for the end of the head in what has come."""
        if self._state != _READING:
            self._discard(nbytes)
            return
        if self._received is None:
            if self._refuse_banned():  # not sooner: some clients break when the answer overtakes their request
                return
            self._received = bytearray()
        received = self._received
        searched = max(len(received) - len(_END) + 1, 0)
        received += self._reception.scratch[:nbytes]
        end = received.find(_END, searched)
        if end >= 0:
            self._judge(bytes(received[:end]), bytes(received[end + len(_END) :]))
        elif len(received) == MAX_RECEIVED:
            self._refuse(Refusal(Reason.HEAD_TOO_LARGE))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - part of the interface
        """Forget the socket."""
        if self._state in (_READING, _DECIDING):
            self._count(Reason.GONE)
        self._leave()

    # --- called by the reception

    def expire(self) -> None:
        """Do what is due at the deadline: an answer to those who said something, else close."""
        if self._state == _READING and self._received:
            self._refuse(Refusal(Reason.TIMEOUT))
        elif self._state == _READING:
            self.drop(Reason.IDLE)
        elif self._granting is not None:
            self._granting.cancel()  # _on_granted answers
        else:
            self._abort()

    def drop(self, reason: Reason) -> None:
        """Close the socket at once, without an answer."""
        if self._state != _CLOSING:  # that one was counted when it was refused
            self._count(reason)
        self._abort()

    # --- deciding

    def _judge(self, head: bytes, rest: bytes) -> None:
        """Refuse, answer or accept the request, or begin to wait for what its token permits.

        Args:
            head: the request without its empty line.
            rest: what came behind it: the first frames of a client that does not wait.
        """
        reception = self._reception
        self._received = None
        self._head_only = head.startswith(b"HEAD ")
        try:
            request = parse_request(head)
            self._path = request.path
            if self._forwarded:
                self._address = client_address(self._address, request.headers, reception.trusted)
                if self._refuse_banned():
                    return
            check_request(request)
            if request.path == HEALTH_PATH:
                health = reception.health()
                code = 200 if health.get("status") == "ok" else 503
                self._answer(code, (), orjson.dumps(health), content_type="application/json")
                return
            upgrade = negotiate(request, reception.policy)
            if refusal := reception.gate.refuse_early(upgrade, self._address):
                self._refuse(refusal)
                return
            granted = reception.gate.authenticate(upgrade, self._address)
        except Exception as error:  # noqa: BLE001 - it is logged and answered
            self._refuse(reception.explain(error))
            return
        if granted is None or isinstance(granted, Grant):
            self._conclude(upgrade, rest, granted)
        else:
            self._state, self.deadline = _DECIDING, reception.now() + reception.timeout
            self._transport.pause_reading()
            self._granting = asyncio.ensure_future(granted)
            self._granting.add_done_callback(partial(self._on_granted, upgrade, rest))

    def _on_granted(self, upgrade: Upgrade, rest: bytes, granting: asyncio.Future[Grant | None]) -> None:
        """Go on with what a token permits; the socket may be closed by now."""
        failure = None if granting.cancelled() else granting.exception()
        self._granting = None
        if self._state != _DECIDING or self._transport.is_closing():
            return
        self._transport.resume_reading()
        if granting.cancelled():
            self._refuse(Refusal(Reason.AUTH_TIMEOUT, retry_after=1))
        elif failure is not None:
            self._refuse(self._reception.explain(failure))
        else:
            self._conclude(upgrade, rest, granting.result())

    def _conclude(self, upgrade: Upgrade, rest: bytes, grant: Grant | None) -> None:
        """Open the session and hand the socket over to picows, or refuse.

        The session is opened last of all that can fail, so that each one that was opened gets connected, and
        therefore disconnected.
        """
        reception = self._reception
        try:
            if grant is not None:
                check_scope(upgrade, grant)
            websocket = PendingWebSocket(self._transport, reception.websocket_log, reception.max_frame_size)
            listener = reception.gate.open_session(upgrade, self._address, grant)
        except Exception as error:  # noqa: BLE001 - it is logged and answered
            self._refuse(reception.explain(error))
            return
        self._leave()
        reception.upgraded += 1
        websocket.start(
            listener,
            key=upgrade.key,
            subprotocol=upgrade.subprotocol,
            extensions=None if upgrade.deflate is None else upgrade.deflate.answer,
            received=rest,
        )

    # --- answering

    def _refuse_banned(self) -> bool:
        """Refuse a client whose address is banned; say whether it is."""
        seconds = self._reception.suspects.banned(self._address)
        if seconds:
            self._refuse(Refusal(Reason.BANNED, retry_after=seconds))
        return bool(seconds)

    def _refuse(self, refusal: Refusal) -> None:
        self._count(refusal.reason)
        self._answer(refusal.reason.status, refusal.headers, f"{refusal.reason.text}\n".encode())

    def _answer(
        self,
        status: int,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Send the answer and let the client close. Reading goes on: closing over unread bytes is a reset."""
        self._state, self.deadline = _CLOSING, self._reception.now() + CLOSE_TIMEOUT
        self._received = None
        self._transport.write(
            render(status, headers, body, content_type=content_type, head_only=self._head_only)
        )
        if not self._transport.can_write_eof():
            self._transport.close()  # TLS reads on by itself, until both sides have said that they close
        elif not self._transport.is_closing():
            self._transport.write_eof()

    def _discard(self, nbytes: int) -> None:
        self._discarded += nbytes
        if self._discarded > MAX_DISCARDED:
            self._abort()

    def _count(self, reason: Reason) -> None:
        self._reception.count(reason, self._address, self._path)

    def _abort(self) -> None:
        self._leave()
        self._transport.abort()

    def _leave(self) -> None:
        """Be done with the socket: no answer and no deadline any more."""
        self._state, self._received = _DONE, None
        self._reception.leave(self)
        if self._granting is not None:
            self._granting.cancel()
            self._granting = None
