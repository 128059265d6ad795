from __future__ import annotations

from valtronics_fast.workers.kept import MAX_PIECE, MAX_READ, Kept


def filled(kept: Kept, lane: int, *offsets: int, count: int = 1, size: int = 10) -> None:
    for offset in offsets:
        kept.add(lane, offset, count, bytes(size))


def offsets(kept: Kept, lane: int, after: int | None = 0) -> list[int]:
    return [offset for offset, _, _ in kept.read(lane, after).entries]


def test_what_was_added_is_read_behind_an_offset() -> None:
    kept = Kept(10, 0)
    filled(kept, 3, 100, 110, 120, count=5)
    assert kept.read(3, 0) == (0, [(at, 5, bytes(10)) for at in (100, 110, 120)], False)
    assert offsets(kept, 3, 103) == [100, 110, 120]  # the one that begins before ends behind it
    assert offsets(kept, 3, 104) == [110, 120]
    assert offsets(kept, 3, 124) == []
    assert kept.read(4, None) == (0, [], False)


def test_the_oldest_entries_of_a_lane_go_and_the_floor_tells_it() -> None:
    kept = Kept(3, 0)
    filled(kept, 1, 10, 20, 30, count=4)
    assert kept.read(1, 0).floor == 0
    filled(kept, 1, 40, 50)
    assert (kept.read(1, 0).floor, offsets(kept, 1)) == (23, [30, 40, 50])
    assert (kept.size, kept.dropped) == (30, 2)


def test_beyond_the_bytes_the_oldest_of_all_lanes_go() -> None:
    kept = Kept(1000, 800)
    for offset in range(80):
        filled(kept, offset % 4, 1000 + offset)
    assert kept.size == 800
    filled(kept, 5, 2000)
    assert kept.size <= 700
    assert kept.dropped == 11
    assert [kept.read(lane, 0).floor for lane in range(6)] == [1008, 1009, 1010, 1007, 0, 0]
    assert offsets(kept, 5) == [2000]


def test_no_limit_of_bytes() -> None:
    kept = Kept(1000, 0)
    filled(kept, 0, *range(1, 500), size=100_000)
    assert (kept.size, kept.dropped) == (49_900_000, 0)


def test_reading_from_the_newest_on_backwards() -> None:
    kept = Kept(3 * MAX_READ, 0)
    filled(kept, 0, *range(1, 2 * MAX_READ + 1), size=1)
    floor, entries, more = kept.read(0, None)
    assert (floor, len(entries), entries[0][0], more) == (MAX_READ, MAX_READ, MAX_READ + 1, False)


def test_large_lanes_are_read_in_pieces() -> None:
    kept = Kept(100, 0)
    filled(kept, 0, *range(1, 11), size=MAX_PIECE // 4)
    first = kept.read(0, 0)
    assert (len(first.entries), first.more) == (5, True)
    rest = kept.read(0, first.entries[-1][0])
    assert (len(rest.entries), rest.more) == (5, False)


def test_nothing_is_kept() -> None:
    kept = Kept(0, 0)
    filled(kept, 0, 1, 2)
    assert kept.read(0, None) == (2, [], False)
    assert kept.size == 0
