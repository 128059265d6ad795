from __future__ import annotations

import time

from valtronics_fast.load.tally import MAX_KINDS, Tally


def test_messages_count_while_measuring_and_deliveries_are_timed_until_the_end() -> None:
    tally = Tally("m")
    now = int(time.monotonic() * 1e6)
    tally.arrived(now, 10)
    tally.timing = tally.measuring = True
    tally.arrived(now, 10)
    tally.arrived(None, 5)
    tally.measuring = False
    tally.arrived(now - 2_000_000, 10)
    assert (tally.messages, tally.octets, tally.delivering.count) == (2, 15, 2)
    assert tally.delivering.greatest >= 2


def test_kinds_of_errors_are_bounded() -> None:
    tally = Tally("m")
    for number in range(MAX_KINDS + 10):
        tally.fail(f"error {number}")
    tally.fail("error 0")
    assert (len(tally.errors), tally.errors["others"], tally.errors["error 0"]) == (MAX_KINDS + 1, 10, 2)
    tally.ending = True
    tally.fail("error 0")
    assert tally.errors["error 0"] == 2
