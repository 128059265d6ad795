from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from valtronics_fast import memory
from valtronics_fast.memory import WORTH, Trimmer

# Every hundredth of many pieces stays in use, so that the heap's end can't be given back by itself.
FRAGMENTED = """
import pathlib, ctypes
from valtronics_fast.memory import Trimmer

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [bytes(700) for _ in range(200_000)]
used = [140_000_000]
trimmer = Trimmer(lambda: used[0])
assert not trimmer.look()
pieces = pieces[::100]
used[0] = 1_400_000
before = resident()
assert trimmer.look()
print(before - resident())
"""


def test_memory_between_pieces_in_use_is_given_back() -> None:
    if not hasattr(memory.ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library can't trim")
    found = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert int(found.stdout) > 50_000_000


@pytest.mark.parametrize(
    ("history", "trims"),
    [
        ([0, 0], 0),
        ([10 * WORTH, 6 * WORTH], 0),  # more than half is in use
        ([10 * WORTH, 5 * WORTH], 1),
        ([10 * WORTH, 5 * WORTH, 5 * WORTH, 3 * WORTH], 1),  # the most is counted from the last trim on
        ([10 * WORTH, 5 * WORTH, 2 * WORTH], 2),
        ([WORTH, WORTH // 10], 0),  # not worth it
        ([WORTH, 0], 1),
    ],
)
def test_it_trims_when_less_than_half_of_the_most_is_in_use(history: list[int], trims: int) -> None:
    following = iter(history)
    trimmer = Trimmer(lambda: next(following))
    if trimmer._trim is None:
        pytest.skip("the C library can't trim")
    assert sum(trimmer.look() for _ in history) == trims


async def test_it_looks_again_and_again_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SAMPLE", 0.001)
    looks: list[None] = []

    def used() -> int:
        looks.append(None)
        return 0

    trimmer = Trimmer(used)
    trimmer.start()
    while len(looks) < 3:
        await asyncio.sleep(0.001)
    trimmer.stop()
    seen = len(looks)
    await asyncio.sleep(0.01)
    assert len(looks) == seen
    trimmer.stop()


async def test_a_crowd_between_two_looks_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SAMPLE", 0.001)
    monkeypatch.setattr(memory, "INTERVAL", 0.5)
    used, asked, trimmed = [0], [0], asyncio.Event()

    def estimate() -> int:
        asked[0] += 1
        return used[0]

    trimmer = Trimmer(estimate)
    if trimmer._trim is None:
        pytest.skip("the C library can't trim")
    trimmer._trim = lambda _: trimmed.set()
    trimmer.start()
    used[0] = 10 * WORTH
    while not asked[0]:
        await asyncio.sleep(0.001)
    used[0] = 0
    async with asyncio.timeout(30):
        await trimmed.wait()
    trimmer.stop()
