"""Lanes of which something was missed: the newest values are had from other nodes, and the clients told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.loading import lanes_of
from valtronics_fast.backplanes.log import LogError
from valtronics_fast.logging import fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.dumps import Dumps

__all__ = ["Gaps"]

PARTITIONS = 64

_log = logging.getLogger(__name__)


class Gaps:
    """Notes what was missed, and makes it good as far as that can be.

    Args:
        dumps: newest values.
        sync: waits until what this node has published has come back from the log, and everything that was appended
            before; returns the offset. LogError: the log is away.

    Attributes:
        hub: whose clients are told.
        resyncs: lanes of which something was missed, each time.
    """

    hub: Hub

    def __init__(self, dumps: Dumps, sync: Callable[[], Awaitable[int]]) -> None:
        self.resyncs = 0
        self._dumps = dumps
        self._sync = sync
        self._missed: dict[int, int | None] = {}
        self._meanwhile: dict[int, list[tuple[bytes, int]]] = {}
        self._work: asyncio.Task[None] | None = None

    def miss(self, lanes: Collection[int], node: int | None = None) -> None:
        """Note that something of these lanes will not come any more; the clients are told soon.

        Args:
            lanes: which ones.
            node: whose it was; it is asked first.
        """
        for lane in lanes:
            self._missed[lane] = node
            self.hub.histories[lane // PARTITIONS].set_floor(lane % PARTITIONS, self.hub.log_position)
        self.resume()

    def resume(self) -> None:
        """Go on with what could not be made good without the log."""
        if self._missed and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._mend(), name="resync")

    async def stop(self) -> None:
        """Let it be."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def came(self, lane: int, packets: bytes, offset: int) -> None:
        """Note what is delivered: newest values that are on their way may be older."""
        if lane in self._meanwhile:
            self._meanwhile[lane].append((packets, offset))

    async def _mend(self) -> None:
        await asyncio.sleep(0)  # what else was missed with it comes in this turn
        while self._missed:
            missed, self._missed = self._missed, {}
            try:
                await self._mend_lanes(missed)
            except LogError:
                self._missed = missed | self._missed
                return

    async def _mend_lanes(self, missed: dict[int, int | None]) -> None:
        hub = self.hub
        self._meanwhile = {lane: [] for lane in missed}
        try:
            position = await self._sync()
            first = {lane: node for lane, node in missed.items() if node is not None}
            dumps = await self._dumps.fetch(list(missed), position, first)
            await self._sync()  # it is still the same log
            for lane, dump in dumps.items():
                try:
                    for packets in dump.slices():
                        hub.absorb([(packets, 0)], newest=True)
                        await asyncio.sleep(0)
                    newer = [entry for entry in self._meanwhile[lane] if entry[1] > dump.position]
                    hub.absorb(newer, newest=True)
                except PacketError as error:
                    _log.warning("newest values could not be read", extra=fields(lane=lane, problem=error))
        finally:
            self._meanwhile = {}
        lanes = [lane for lane in missed if lanes_of(hub).is_followed(lane)]
        hub.resync(lanes)
        self.resyncs += len(lanes)
        _log.warning("messages were missed", extra=fields(lanes=len(lanes)))
