"""What was missed is made good, and told, with values that are newer than what is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.harness import Server, subscribe, telemetry, until
from valtronics_fast._core.lanes import lane_of
from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes.dumps import Dump
from valtronics_fast.backplanes.gaps import Gaps
from valtronics_fast.backplanes.log import LogError

if TYPE_CHECKING:
    from collections.abc import Mapping

LANE = lane_of(Channel.TELEMETRY, 1)


class Others:
    """In place of Dumps, and of the log: what other nodes have, as soon as they may answer."""

    def __init__(self) -> None:
        self.has: dict[int, Dump] = {}
        self.asked: list[tuple[list[int], int, Mapping[int, int] | None]] = []
        self.may_answer = asyncio.Event()
        self.is_away = False

    async def sync(self) -> int:
        if self.is_away:
            raise LogError("away")
        return 50

    async def fetch(self, lanes: list[int], position: int, first: Mapping[int, int] | None) -> dict[int, Dump]:
        self.asked.append((lanes, position, first))
        await self.may_answer.wait()
        return {lane: self.has[lane] for lane in lanes if lane in self.has}


def packed(server: Server, device: int, value: int) -> bytes:
    return server.hub.pack(telemetry(device, n=value))[1]


async def test_the_newest_values_are_had_and_told() -> None:
    async with Server(shared=True, history=10) as server:
        others = Others()
        gaps = Gaps(others, others.sync)  # type: ignore[arg-type]
        gaps.hub = server.hub
        assert server.hub.lanes is not None
        server.hub.lanes.set_followed(range(64), True)
        client = await server.login()
        await subscribe(client, "telemetry", device_id=1, recover=True)
        server.hub.receive(packed(server, 1, 1), 40)
        await client.hear()
        gaps.miss([LANE], 7)
        gaps.miss([LANE], 7)
        await until(lambda: others.asked)
        assert others.asked == [([LANE], 50, {LANE: 7})]
        # What comes while the answer is on its way is newer than what was asked for ...
        server.hub.receive(packed(server, 1, 3), 60)
        gaps.came(LANE, packed(server, 1, 3), 60)
        others.has[LANE] = Dump(55, packed(server, 1, 2))
        others.may_answer.set()
        await until(lambda: gaps.resyncs)
        heard = await client.settled()
        assert [message["type"] for message in heard] == ["telemetry_update", "resync", "telemetry_update"]
        assert [message["telemetry"]["n"]["value"] for message in (heard[0], heard[2])] == [3, 3]
        # ... but not than a dump that was made behind it.
        others.may_answer.clear()
        gaps.miss([LANE])
        await until(lambda: len(others.asked) == 2)
        others.has[LANE] = Dump(70, packed(server, 1, 4))
        gaps.came(LANE, packed(server, 1, 3), 60)
        others.may_answer.set()
        await until(lambda: gaps.resyncs == 2)
        assert (await client.settled())[-1]["telemetry"]["n"]["value"] == 4
        late = await server.login()
        since = {"epoch": server.hub.epoch, "offset": 40}
        assert (await subscribe(late, "telemetry", device_id=1, since=since))["recovered"] is False
        await late.settled()


async def test_without_the_log_it_waits() -> None:
    async with Server(shared=True) as server:
        others = Others()
        others.may_answer.set()
        others.is_away = True
        gaps = Gaps(others, others.sync)  # type: ignore[arg-type]
        gaps.hub = server.hub
        assert server.hub.lanes is not None
        server.hub.lanes.set_followed([1, 2], True)
        gaps.miss([1, 2, 3])
        assert gaps._work is not None
        await gaps._work
        assert (others.asked, gaps.resyncs) == ([], 0)
        others.is_away = False
        gaps.resume()
        await until(lambda: gaps.resyncs == 2)  # one is not followed any more
        gaps.resume()
        await gaps.stop()
        assert len(others.asked) == 1


async def test_values_that_cannot_be_read_are_left_out() -> None:
    async with Server(shared=True) as server:
        others = Others()
        others.may_answer.set()
        others.has[1] = Dump(5, b"nonsense")
        gaps = Gaps(others, others.sync)  # type: ignore[arg-type]
        gaps.hub = server.hub
        assert server.hub.lanes is not None
        server.hub.lanes.set_followed([1], True)
        gaps.miss([1])
        await until(lambda: gaps.resyncs == 1)


async def test_it_ends_while_it_waits() -> None:
    async with Server(shared=True) as server:
        others = Others()
        gaps = Gaps(others, others.sync)  # type: ignore[arg-type]
        gaps.hub = server.hub
        gaps.miss([1])
        await until(lambda: others.asked)
        await gaps.stop()
        await gaps.stop()
        assert gaps.resyncs == 0
