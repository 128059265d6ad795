from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast.request_ids import MAX_ID, clean, current, handling


@pytest.mark.parametrize(
    "given_id",
    ["", "7", "3f1c9a52-0b7e-4d7a-9f41-1f2e3d4c5b6a", "Root=1-67891233-abcdef012345678912345678", "a.b_c~d/e+f@g:h"],
)
def test_what_programs_use_stays(given_id: str) -> None:
    assert clean(given_id) == given_id


@given(st.text(max_size=2000))
@example("a" * (MAX_ID + 1))
def test_what_is_left_is_short_and_safe_anywhere(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~:/+=@-]*", clean(text))
    assert len(clean(text)) <= MAX_ID
    assert clean(clean(text)) == clean(text)


async def test_each_request_has_its_own() -> None:
    async def handle(request_id: str) -> list[str]:
        with handling(request_id):
            before = current()
            await asyncio.sleep(0)
            return [before, current(), await asyncio.create_task(later())]

    async def later() -> str:
        return current()

    assert await asyncio.gather(handle("a"), handle("b")) == [["a"] * 3, ["b"] * 3]
    assert current() == ""


def test_after_a_fault_there_is_none() -> None:
    with pytest.raises(ZeroDivisionError), handling("a"):
        raise ZeroDivisionError
    assert current() == ""
