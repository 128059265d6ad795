"""What waits for the log: in order, bounded, numbered, and told where it had to be given up."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.backplanes.envelope import MAX_BYTES, MAX_PACKETS, Envelope, unseal
from valtronics_fast.backplanes.outgoing import MAX_APPEND, MAX_BATCHES, Outgoing

NODE = 7

# What happens: a message is published in a lane (a number of bytes), something is appended and acknowledged, or is
# appended and its answer is lost.
steps = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(1, 50)), st.sampled_from(["append", "lose", "apart", "together"])
    ),
    max_size=60,
)


def drain(outgoing: Outgoing) -> list[Envelope]:
    """Append all that waits."""
    found = []
    while outgoing:
        batches = outgoing.take()
        found += [unseal(batch.blob) for batch in batches]
        outgoing.acknowledge(len(batches))
    return found


@given(steps, st.integers(0, 300))
def test_what_is_taken_is_what_was_added_but_for_what_was_given_up(
    steps: list[tuple[int, int] | str], limit: int
) -> None:
    outgoing, apart = Outgoing(NODE, limit), False
    added: dict[int, list[bytes]] = {}
    taken: dict[int, list[Envelope]] = {}
    handed_out = 0

    def append() -> int:
        batches = outgoing.take()
        for sealed, batch in zip(outgoing.acknowledge(len(batches)), batches, strict=True):
            assert unseal(batch.blob) == sealed.envelope
            assert batch.offsets == sealed.envelope.count
            taken.setdefault(sealed.lane, []).append(sealed.envelope)
        return 0

    for number, step in enumerate(steps):
        if step == "append":
            handed_out = append()
        elif step == "lose":
            handed_out = sum(len(unseal(batch.blob).packets) for batch in outgoing.take())
        elif isinstance(step, str):
            apart = step == "apart"
        else:
            lane, size = step
            packet = bytes([number]) * size
            added.setdefault(lane, []).append(packet)
            outgoing.add(lane, packet, apart=apart)
            assert outgoing.size <= max(limit, handed_out)
    while outgoing:
        append()
    assert outgoing.size == 0
    lost = 0
    for lane, packets in added.items():
        left = list(packets)
        last = 0
        for envelope in taken.get(lane, []):
            assert envelope.sequence > last
            if not envelope.packets:
                last = envelope.sequence
                continue
            assert envelope.sequence == last + 1  # whatever is missing is told before
            last = envelope.sequence
            begin = b"".join(left).index(envelope.packets)
            while begin > 0:
                begin -= len(left.pop(0))
                lost += 1
            assert b"".join(left[: envelope.count]) == envelope.packets
            del left[: envelope.count]
        lost += len(left)
    assert lost == outgoing.dropped


def test_envelopes_are_bounded() -> None:
    outgoing = Outgoing(NODE, 1 << 30)
    for _ in range(MAX_PACKETS + 1):
        outgoing.add(1, b"x", apart=False)
    for _ in range(3):
        outgoing.add(2, b"x" * MAX_BYTES, apart=False)
    assert sorted((envelope.sequence, envelope.count) for envelope in drain(outgoing)) == [
        (1, 1), (1, MAX_PACKETS), (2, 1), (2, 1), (3, 1),
    ]  # fmt: skip


def test_what_is_appended_at_a_time_is_bounded() -> None:
    outgoing = Outgoing(NODE, 1 << 30)
    for lane in range(MAX_BATCHES + 1):
        outgoing.add(lane, b"x", apart=False)
    assert len(outgoing.take()) == MAX_BATCHES
    assert len(outgoing.take()) == MAX_BATCHES  # the same ones, as long as they are not acknowledged
    drain(outgoing)
    for _ in range(20):
        outgoing.add(1, b"x" * MAX_BYTES, apart=False)
    assert len(outgoing.take()) == MAX_APPEND // MAX_BYTES + 1


def test_what_waits_says_whether_it_was_delivered() -> None:
    outgoing = Outgoing(NODE, 100)
    outgoing.add(1, b"a", apart=True)
    outgoing.seal(apart=True)
    outgoing.add(1, b"b", apart=False)
    assert [(one.lane, one.envelope.packets, one.apart) for one in outgoing.waiting()] == [
        (1, b"a", True), (1, b"b", False),
    ]  # fmt: skip
    outgoing.add(2, b"x" * 100, apart=True)
    outgoing.seal(apart=True)
    assert [(one.lane, one.envelope.packets, one.apart) for one in outgoing.waiting()] == [
        (1, b"", False), (2, b"x" * 100, True),
    ]  # fmt: skip
    assert outgoing.dropped == 2
    # Of what was given up in a lane one message was not delivered here: then this node has missed something, too.
    outgoing = Outgoing(NODE, 100)
    outgoing.add(1, b"a", apart=False)
    outgoing.seal(apart=False)
    outgoing.add(1, b"b", apart=True)
    outgoing.add(2, b"x" * 100, apart=True)
    outgoing.seal(apart=True)
    assert [(one.lane, one.apart) for one in outgoing.waiting()] == [(1, False), (2, True)]


def test_the_last_number_that_was_taken_is_known() -> None:
    outgoing = Outgoing(NODE, 100)
    outgoing.add(1, b"a", apart=False)
    assert outgoing.acknowledged == {}
    drain(outgoing)
    outgoing.add(1, b"b", apart=False)
    outgoing.take()
    assert outgoing.acknowledged == {1: 1}


async def test_settling_waits_for_what_waits_then() -> None:
    outgoing = Outgoing(NODE, 100)
    await outgoing.settle()
    outgoing.add(1, b"a", apart=False)
    outgoing.add(2, b"a", apart=False)
    settled = asyncio.ensure_future(outgoing.settle())
    await asyncio.sleep(0)
    outgoing.take()
    outgoing.add(3, b"later", apart=False)
    outgoing.acknowledge(1)
    await asyncio.sleep(0)
    assert not settled.done()
    outgoing.acknowledge(1)
    await settled
    assert outgoing


async def test_what_is_given_up_settles_and_who_went_away_does_not_hinder() -> None:
    outgoing = Outgoing(NODE, 10)
    outgoing.add(1, b"a" * 10, apart=False)
    gone, settled = asyncio.ensure_future(outgoing.settle()), asyncio.ensure_future(outgoing.settle())
    await asyncio.sleep(0)
    gone.cancel()
    outgoing.add(2, b"b" * 10, apart=False)
    assert [envelope.packets for envelope in drain(outgoing)] == [b"", b"b" * 10]
    await settled


def test_more_than_half_of_the_room_is_congestion() -> None:
    outgoing = Outgoing(NODE, 100)
    outgoing.add(1, b"a" * 50, apart=False)
    assert not outgoing.is_congested()
    outgoing.add(1, b"a", apart=False)
    assert outgoing.is_congested()
    drain(outgoing)
    assert not outgoing.is_congested()
