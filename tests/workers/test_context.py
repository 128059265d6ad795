from __future__ import annotations

from valtronics_fast.workers.context import NUMBERS
from workers.machine import sites


async def test_the_numbers_of_connections_tell_the_start_of_their_worker() -> None:
    async with sites() as (_, (one, two)), one.client(), two.client(), two.client():
        assert [each.number for each in one.server._clients.sessions()] == [1]
        assert sorted(each.number for each in two.server._clients.sessions()) == [NUMBERS + 1, NUMBERS + 2]
    assert NUMBERS * 9000 < 2**53  # readers of JSON take them as they are
