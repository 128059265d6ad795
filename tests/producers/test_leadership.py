"""Who takes in what is there once: follows an election, and notices that the process stood still."""

from __future__ import annotations

import asyncio

import pytest

from mqtt_harness import Election, until
from valtronics_fast.producers import leadership
from valtronics_fast.producers.leadership import Leadership


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "LOOK", 0.01)
    monkeypatch.setattr(leadership, "STANDSTILL", 0.5)


async def test_it_is_gained_and_lost() -> None:
    election = Election()
    lead = Leadership(election, "mqtt")
    lost: list[None] = []
    following = asyncio.create_task(lead.follow())
    gained = asyncio.create_task(lead.gained())
    await asyncio.sleep(0.05)
    assert not gained.done()
    assert not lead.holds()
    election.leading = True
    await asyncio.wait_for(gained, 30)
    lead.on_lost = lambda: lost.append(None)
    assert lead.holds()
    election.leading = False
    assert not lead.holds()
    await until(lambda: lost)
    assert election.pauses == 0
    following.cancel()


async def test_a_process_that_stood_still_holds_nothing() -> None:
    election = Election()
    election.leading = True
    lead = Leadership(election, "mqtt")
    following = asyncio.create_task(lead.follow())
    await lead.gained()
    lead._looked_at -= 1.0  # what it looks like at the first moment after it
    assert not lead.holds()
    assert election.leading
    await until(lambda: election.pauses)
    assert not lead.holds()
    election.leading = True
    await lead.gained()
    following.cancel()
