"""How an accepted socket becomes a picows WebSocket without picows reading the client's request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from picows import WSAutoPingStrategy, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

if TYPE_CHECKING:
    import asyncio

    from picows import WSListener

    from valtronics_fast.quiet_logger import QuietLogger

__all__ = ["PendingWebSocket"]

# All that picows checks, and nothing that the client chose but the key.
_REQUEST: Final = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
)

# The smallest that picows takes; it grows with the frames of the connection.
_READ_BUFFER_SIZE: Final = 2048


class PendingWebSocket:
    """A picows protocol that is made but does not own its socket yet.

    It has no timer and no task of its own: pings and time limits are the session's.

    Args:
        transport: the socket.
        logger: takes picows' lines.
        max_frame_size: bytes of the largest frame that is accepted.
    """

    __slots__ = ("_listener", "_protocol", "_transport")

    def __init__(self, transport: asyncio.Transport, logger: QuietLogger, max_frame_size: int) -> None:
        self._listener: WSListener | WSUpgradeResponseWithListener | None = None
        self._transport = transport
        self._protocol: Any = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=self._give_listener,
            logger=logger,
            disconnect_on_exception=False,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=20,
            auto_ping_reply_timeout=20,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=max_frame_size,
            extra_headers=None,
            read_buffer_init_size=_READ_BUFFER_SIZE,
        )
        self._protocol.connection_made(transport)

    def start(
        self, listener: WSListener, *, key: str, subprotocol: str | None, extensions: str | None, received: bytes
    ) -> None:
        """Answer the handshake and let picows own the socket from here on.

        Args:
            listener: `on_ws_connected` is called before this returns, and `on_ws_frame` for what came early.
            key: the Sec-WebSocket-Key.
            subprotocol: the one to be answered; None: none.
            extensions: those to be answered; None: none.
            received: the bytes that came behind the request.
        """
        self._listener = listener
        headers = {"Sec-WebSocket-Protocol": subprotocol, "Sec-WebSocket-Extensions": extensions}
        answered = {name: value for name, value in headers.items() if value is not None}
        if answered:
            response = WSUpgradeResponse.create_101_response(answered)
            self._listener = WSUpgradeResponseWithListener(response, listener)
        self._transport.set_protocol(self._protocol)
        self._feed(_REQUEST.format(key).encode("ascii"))
        self._feed(received)

    def _give_listener(self, _request: object) -> WSListener | WSUpgradeResponseWithListener | None:
        """Return what `start` was given: picows asks for it once it has read the request."""
        return self._listener

    def _feed(self, data: bytes) -> None:
        """Give bytes to picows as the transport would; not any more when they made it close."""
        remaining = memoryview(data)
        while remaining and not self._transport.is_closing() and not self._protocol.transport.is_close_frame_sent:
            with self._protocol.get_buffer(-1) as room:  # released before picows moves the memory behind it
                size = min(len(room), len(remaining))
                room[:size] = remaining[:size]
            self._protocol.buffer_updated(size)
            remaining = remaining[size:]
