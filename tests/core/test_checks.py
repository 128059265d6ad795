"""That the checks of whole structures see what is wrong: a number in memory is changed behind the core's back."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from core.behind import Jam
from core.harness import Server, telemetry
from core.tampering import changed, changed_all, fields, parts
from valtronics_fast._core.checks import INVARIANTS, check_hub, check_wheel
from valtronics_fast._core.index import Filter, Term
from valtronics_fast._core.index_checks import check_index
from valtronics_fast._core.latest import Values
from valtronics_fast._core.subscriptions import SubscriptionTable
from valtronics_fast._core.wheel import TimerWheel

USERS, EVERYWHERE, SUBSCRIPTIONS, DEVICES = 29, 13, 17, 23
PUBLISHED, KEPT_BACK = 61, 37


def test_wheel() -> None:
    wheel = TimerWheel(1, 0)
    for slot in range(41):
        wheel.arm(slot, slot + 100)
    assert check_wheel(wheel) == set(range(41))
    with changed(fields(wheel), 41, 40), pytest.raises(AssertionError, match="40 timers are counted, 41 are armed"):
        check_wheel(wheel)
    # The two spokes of the deadlines 102 and 103 change places.
    with changed(fields(wheel), 3 << 32 | 2, 2 << 32 | 3), pytest.raises(AssertionError, match="wrong spoke"):
        check_wheel(wheel)
    assert check_wheel(wheel) == set(range(41))


async def test_hub() -> None:
    """A server with connections, subscriptions and something to send; each number that is counted is off by one."""
    async with Server(queue_limit=0) as server:
        clients = [await server.login() for _ in range(USERS)]
        for i, client in enumerate(clients):
            await client.ask(type="subscribe", id=1, channel="telemetry", device_id=1, metrics=["a", "b"])
            if i < EVERYWHERE:
                await client.ask(type="subscribe", id=1, channel="telemetry")
        many = await server.login()
        for device in range(SUBSCRIPTIONS):
            ids = [device, *range(100, 100 + DEVICES - SUBSCRIPTIONS)] if device == 0 else device
            await many.ask(type="subscribe", id=1, channel="alerts", device_id=ids, severity="high")
        assert await many.settled() == []
        index = server.hub.index
        check_index(index)
        check_hub(server.hub)

        def caught(victim: object, old: int, new: int, text: str) -> None:
            with changed(fields(victim), old, new), pytest.raises(AssertionError, match=text):
                check_hub(server.hub)
            check_hub(server.hub)

        caught(index, index.entries, index.entries + 1, "entries are counted")
        caught(index.names, index.names.limit, 2, "too many names")
        core = list(parts(server.hub))
        (filter_,) = [one for one in core if isinstance(one, Filter) and one.users == USERS - EVERYWHERE]
        caught(filter_, USERS - EVERYWHERE, USERS, "a filter has")
        (term,) = [one for one in core if isinstance(one, Term) and one.users == USERS + 2]
        caught(term, USERS + 2, USERS + 3, "a term has")
        (table,) = [one for one in core if isinstance(one, SubscriptionTable) and one.count == SUBSCRIPTIONS]
        caught(table, SUBSCRIPTIONS, SUBSCRIPTIONS + 1, "are counted as")
        caught(table, DEVICES, DEVICES - 1, "are counted as")
        server.hub.publish(telemetry(1, a=1))
        queued = clients[0].session.queued_bytes
        assert queued > 0
        caught(clients[0].session, queued, queued + 1, "bytes are counted")


async def test_readers_that_are_behind() -> None:
    """Newest values, a history, and a connection that is owed some of them; each number that matters is wrong once."""
    async with Jam(history=100) as jam:
        slow = await jam.reader()
        await jam.taken(slow, type="subscribe", channel="telemetry")
        for device in range(PUBLISHED):
            jam.publish(device, t=1)
        await jam.drained(slow)
        await jam.jam(slow)
        for device in range(KEPT_BACK):
            jam.publish(device, t=2)
        check_hub(jam.hub)

        def caught(victim: object, old: int, new: int, text: str) -> None:
            with changed(fields(victim), old, new), pytest.raises(AssertionError, match=text):
                check_hub(jam.hub)
            check_hub(jam.hub)

        last = PUBLISHED + KEPT_BACK
        table, history, turn = jam.hub.latest[0], jam.hub.histories[0], jam.hub.turn
        assert table is not None
        caught(table, table.nbytes, table.nbytes + 1, "bytes of newest values are counted")
        caught(history, history.nbytes, history.nbytes - 1, "a history counts")
        caught(history, 100, last - 1, "too many messages")
        caught(turn, turn.backlog, turn.backlog + 1, "a backlog of")
        (cursor,) = table.cursors
        for wrong, text in ((last + 1, "a reader is ahead"), (PUBLISHED - 1, "a reader stands behind")):
            with changed_all(fields(cursor), PUBLISHED, wrong), pytest.raises(AssertionError, match=text):
                check_hub(jam.hub)
        values = {one.device: one for one in parts(table) if isinstance(one, Values)}
        assert values[KEPT_BACK - 1].offset == last
        caught(values[KEPT_BACK - 1], last, last + 1, "ahead of everything")
        caught(values[KEPT_BACK - 2], last - 1, last, "values are not in order")
        caught(values[KEPT_BACK], KEPT_BACK + 1, KEPT_BACK, "a metric is newer than its device")
        assert len(await jam.drained(slow)) == KEPT_BACK
        caught(slow.session, KEPT_BACK, KEPT_BACK - 1, "more was sent than was kept back")


def test_a_broken_invariant_ends_the_process_in_a_build_that_looks() -> None:
    """A bucket of less than nothing; other builds do not notice."""
    script = "from valtronics_fast._core.bucket import Bucket; Bucket(1, -1, 0).take(0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if INVARIANTS:
        assert done.returncode == -signal.SIGABRT
        assert "bucket.pxd" in done.stderr
        assert "invariant broken" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
