from __future__ import annotations

import gc
import sys

from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.queue import Queue

FRAMES = st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.booleans()), max_size=12)
STEPS = st.lists(FRAMES | st.integers(0, 60) | st.just("clear"), max_size=30)


@given(STEPS)
def test_it_is_a_run_of_bytes_cut_into_frames(steps: list[list[tuple[bytes, bool]] | int | str]) -> None:
    queue = Queue()
    model: list[tuple[bytes, bool]] = []
    for step in steps:
        if isinstance(step, list):
            for frame, answer in step:
                queue.push(frame, answer=answer)
                model.append((frame, answer))
        elif isinstance(step, int):
            left = step = min(step, sum(len(frame) for frame, _ in model))
            while model and left >= len(model[0][0]):
                left -= len(model.pop(0)[0])
            assert queue.advance(step) == left
        else:
            queue.clear()
            model.clear()
        assert queue.frames() == [frame for frame, _ in model]
        assert queue.nbytes == sum(len(frame) for frame, _ in model)
        assert queue.answers == sum(answer for _, answer in model)


def test_it_holds_each_frame_as_often_as_it_waits() -> None:
    frame = bytes(100)
    before = sys.getrefcount(frame)
    queue = Queue()
    for _ in range(5):
        queue.push(frame)
    assert sys.getrefcount(frame) == before + 5
    queue.advance(250)
    assert sys.getrefcount(frame) == before + 3
    queue.clear()
    assert sys.getrefcount(frame) == before
    queue.push(frame)
    del queue
    gc.collect()
    assert sys.getrefcount(frame) == before


def test_room_that_was_needed_once_is_given_back() -> None:
    queue = Queue()
    for _ in range(1000):
        queue.push(b"x")
    assert queue.capacity >= 1000
    queue.advance(1000)
    assert queue.capacity == 0


def test_a_queue_that_is_worked_off_as_it_fills_does_not_grow() -> None:
    queue = Queue()
    for _ in range(10_000):
        queue.push(b"x")
        queue.push(b"y")
        queue.advance(1)
        queue.advance(1)
        queue.push(b"z")
        queue.advance(1)
    assert queue.frames() == []
    assert queue.capacity <= 8
