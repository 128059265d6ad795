"""Connects to NATS, and finds the stream of a log, or makes it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from valtronics_fast.backplanes.log import LogError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.js import JetStreamContext
    from nats.js.api import StreamInfo

    from valtronics_fast.backplanes.addresses import Address

__all__ = ["TIMEOUT", "OrderedClient", "call", "connect", "end", "find_stream"]

TIMEOUT = 3.0
"""Seconds that NATS has to answer."""


class OrderedClient(Client):
    """Hands on what comes in the order in which it comes.

    The library has a queue and a task for each subscription, which loses the order between them. This is the one
    place through which everything goes; tests/backplanes/test_nats_log.py fails if it no longer does.

    Args:
        take: gets subject, reply, data and headers; returns whether that was all that was to be done.
    """

    def __init__(self, take: Callable[[bytes, bytes, bytes, bytes], bool]) -> None:
        super().__init__()
        self._take = take

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if not self._take(subject, reply, data, headers):
            await super()._process_msg(sid, subject, reply, data, headers)


async def call(work: Awaitable[Any]) -> Any:
    """Await what NATS does; its errors become the log's."""
    try:
        return await work
    except (NatsError, OSError, TimeoutError, ValueError, AttributeError) as error:
        raise LogError(f"NATS: {type(error).__name__}: {error}") from error


async def connect(
    address: Address, take: Callable[[bytes, bytes, bytes, bytes], bool], closed: Callable[[], Awaitable[None]]
) -> OrderedClient:
    """Connect to the first server that answers.

    Args:
        address: of kind nats.
        take: see OrderedClient.
        closed: is called when the connection is gone.

    Raises:
        LogError: none does.
    """
    more = await call(_options(address))
    problem: LogError | None = None
    for host, port in random.sample(address.hosts, len(address.hosts)):
        client = OrderedClient(take)
        place = f"[{host}]" if ":" in host else host
        opening = client.connect(
            f"{'tls' if address.tls else 'nats'}://{place}:{port}",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # before it is connected, it tries again all the same
            reconnect_time_wait=0,
            connect_timeout=int(TIMEOUT),
            error_cb=_ignore,
            closed_cb=closed,
            name="valtronics-fast",
            **more,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                await call(opening)
        except (LogError, TimeoutError) as error:
            problem = error if isinstance(error, LogError) else LogError("NATS: it does not answer")
            await end(client)
        else:
            return client
    raise problem or LogError("NATS: no server")


async def _options(address: Address) -> dict[str, Any]:
    """Return how to connect, as the library has it."""
    options = address.options
    more: dict[str, Any] = {}
    if address.tls:
        more["tls"] = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            more["tls"].load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if address.password is not None:
        more |= {"user": address.user or "", "password": address.password}
    elif address.user is not None:
        more["token"] = address.user
    if "credentials" in options:
        more["user_credentials"] = options["credentials"]
    return more


async def _ignore(_: Exception) -> None:
    """Who asked is told by an error of what was asked."""


async def end(client: OrderedClient) -> None:
    """Let go of a connection."""
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.close()
    except asyncio.CancelledError:  # of a connection that was never there the library raises it by itself
        if task is not None and task.cancelling():
            raise
    except (NatsError, OSError, TimeoutError):
        pass


async def find_stream(js: JetStreamContext, name: str, prefix: str, entries: int, replicas: int) -> StreamInfo:
    """Return a log's stream; make it when it is not there.

    Args:
        js: of the connection.
        name: of the stream.
        prefix: begins its subjects.
        entries: that are kept of a subject, of a new one.
        replicas: of a new one.

    Raises:
        LogError: it can't be had.
    """
    with contextlib.suppress(NotFoundError):
        return await _info(js, name)
    config = StreamConfig(
        name=name,
        subjects=[f"{prefix}.l.>"],
        max_msgs_per_subject=entries,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        num_replicas=replicas,
        republish=RePublish(src=f"{prefix}.l.>", dest=f"{prefix}.r.>"),
        allow_rollup_hdrs=True,
    )
    try:
        await call(js.add_stream(config))
    except LogError as error:
        try:
            return await _info(js, name)  # another node was faster, with other settings
        except NotFoundError:
            raise error from None
    info: StreamInfo = await call(js.stream_info(name))
    return info


async def _info(js: JetStreamContext, name: str) -> StreamInfo:
    try:
        return await js.stream_info(name)
    except NotFoundError:
        raise
    except (NatsError, OSError, TimeoutError) as error:
        raise LogError(f"NATS: {type(error).__name__}: {error}") from error
