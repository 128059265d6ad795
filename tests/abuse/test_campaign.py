"""The campaign in small: every row passes, and each of its measures can fail."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from abuse.__main__ import run
from abuse.frames import mutated, random_frames
from abuse.good_client import Sequence
from abuse.mqtt_stream import Life
from abuse.report import as_markdown, as_text, written_into
from abuse.result import MIB, Outcome, Result, Row, State
from abuse.rows import ROWS
from abuse.swarm import addresses, outcomes
from abuse.target import Line
from core.wire_client import CLOSE, PING, TEXT, frame

OPENED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


async def _nothing(_: object) -> Outcome:
    return Outcome()


ROW = Row("row", "something bad", _nothing, frozenset({"close 1009"}), frozenset({"expected"}))


def _result(**changes: object) -> Result:
    good = {"outcome": Outcome(5, Counter({"close 1009": 5})), "before": State(MIB, 9), "after": State(MIB, 9)}
    good |= {"most_memory": 2 * MIB}
    return Result(ROW, **(good | changes))  # type: ignore[arg-type]


@pytest.mark.timeout(600)
async def test_no_good_client_notices_the_bad_ones(tmp_path: Path) -> None:
    results = await run([row.name for row in ROWS], tmp_path, quick=True, seed=1)
    assert {result.row.name: result.failures() for result in results} == {row.name: [] for row in ROWS}
    assert all(result.outcome.inputs for result in results)


def test_a_row_passes() -> None:
    assert _result().failures() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"lost": 1},
        {"repeated": 1},
        {"disordered": 1},
        {"after": State(MIB, 10)},
        {"after": State(2 * MIB + 1, 9)},
        {"lines": [Line("unexpected", "{}")]},
        {"lines": [Line("unexpected", "{}", routine=True)]},
        {"lines": [Line("connected", "{}")]},
        {"lines": [Line("expected", "{}")] * 21},
        {"lines": [Line("connected", "{}", routine=True)] * 201},
        {"lines": [Line("lines suppressed: connected", "{}", routine=True)] * 3},
        {"faults": ["the server is dead"]},
        {"outcome": Outcome(5, Counter({"closed": 5}))},
        {"outcome": Outcome(5, Counter({"close 1009": 5}), ["the attack itself failed"])},
    ],
)
def test_a_row_fails(changes: dict[str, object]) -> None:
    assert len(_result(**changes).failures()) == 1


def test_a_machine_that_stood_still_loses_its_broker() -> None:
    lines = [Line("no MQTT broker", "{}")]
    assert len(_result(lines=lines).failures()) == 1
    assert _result(lines=lines, stood_still=30.0).failures() == []


def test_lines_are_bounded_by_their_kind_and_the_time() -> None:
    expected, connected = Line("expected", "{}"), Line("connected", "{}", routine=True)
    suppressed = [Line(f"lines suppressed: {like}", "{}", routine=True) for like in ("connected", "disconnected: x")]
    gone = [Line(f"disconnected: {reason}", "{}", routine=True) for reason in ("normal", "too_big")]
    assert _result(lines=[expected] * 20 + [connected] * 200 + suppressed * 2 + gone * 200).failures() == []
    assert _result(lines=[expected] * 30 + [connected] * 300, seconds=10.0).failures() == []
    assert len(_result(lines=[expected] * 31, seconds=19.9).unexpected()) == 1


@pytest.mark.parametrize(
    ("received", "counts", "faults"),
    [
        (range(12), {"arrived": 10}, 0),
        (range(3, 12), {"arrived": 7, "sent before the server was back": 3}, 0),
        (range(8), {"arrived": 8, "died with the broker": 2}, 0),
        (range(4, 12), {"arrived": 6, "sent before the server was back": 3, "lost": 1}, 1),
        (range(6), {"arrived": 6, "died with the broker": 2, "lost": 2}, 1),
        ([0, 1, 2, 4, 5, 6, 7, 8, 9], {"arrived": 9, "lost": 1}, 1),
        ([*range(10), 9], {"arrived": 10}, 1),
        ([1, 0, *range(2, 10)], {"arrived": 10}, 1),
        ([], {"sent before the server was back": 3, "died with the broker": 2, "lost": 5}, 1),
    ],
)
def test_what_came_through_the_broker_is_compared_with_what_it_acknowledged(
    received: list[int], counts: dict[str, int], faults: int
) -> None:
    life = Life(0, 12, subscribed=3, settled=8, acknowledged=set(range(10)))
    found, told = life.judge(list(received))
    assert found == Counter(counts | {"not acknowledged": 2})
    assert len(told) == faults


@pytest.mark.parametrize(
    ("numbers", "lost", "repeated", "disordered"),
    [
        ((0, 1, 2, 3), 0, 0, 0),
        ((0, 1, 2), 1, 0, 0),
        ((0, 3), 2, 0, 0),
        ((0, 2, 1, 3), 0, 0, 1),
        ((0, 1, 1, 2, 3), 0, 1, 0),
        ((0, 2, 1, 1, 3), 0, 1, 1),
    ],
)
def test_what_a_client_gets_is_compared_with_what_was_published(
    numbers: tuple[int, ...], lost: int, repeated: int, disordered: int
) -> None:
    sequence = Sequence()
    for number in numbers:
        sequence.take(number)
    assert (sequence.lost(4), sequence.repeated, sequence.disordered) == (lost, repeated, disordered)


@pytest.mark.parametrize(
    ("received", "found"),
    [
        (b"", {"closed"}),
        (b"\x15\x03\x03\x00\x02\x02\x28", {"closed"}),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", {"HTTP 429"}),
        (OPENED, {"closed"}),
        (OPENED + frame(TEXT, b'{"type":"error","error":"forbidden"}', mask=None), {"forbidden", "closed"}),
        (OPENED + frame(2, b"\x82\xa4type\xa5error\xa5error\xa9forbidden", mask=None), {"forbidden", "closed"}),
        (OPENED + frame(TEXT, b"x" * 300, mask=None) + frame(CLOSE, b"\x03\xf1why", mask=None), {"close 1009"}),
        (OPENED + frame(PING, b"x", mask=None) + frame(CLOSE, b"\x0f\xa1", mask=None)[:3], {"closed"}),
    ],
)
def test_what_a_bad_client_got_is_told(received: bytes, found: set[str]) -> None:
    assert outcomes(received, "closed") == found


def test_a_seed_makes_the_same_bytes() -> None:
    assert random_frames(Random(7), 50) == random_frames(Random(7), 50) != random_frames(Random(8), 50)
    assert mutated(Random(7), b"x" * 90) == mutated(Random(7), b"x" * 90) != b"x" * 90


def test_addresses_are_not_used_more_often_than_the_server_allows() -> None:
    first = [address for address, _ in zip(addresses(3), range(3000), strict=False)]
    assert max(Counter(first).values()) == 10
    assert not {address for address, _ in zip(addresses(4), range(3000), strict=False)} & set(first)


def test_the_tables_have_a_line_for_each_row() -> None:
    markdown = as_markdown([_result()], "seed 7")
    assert markdown.pop("run") == "The run below: 0.0 minutes under attack, seed 7."
    assert as_text([_result()]).count("row") == "".join(markdown.values()).count("row") == 6


def test_the_tables_of_a_page_are_written_anew() -> None:
    page = "a\n<!-- abuse: one -->\nold\nold\n<!-- end -->\nb\n<!-- abuse: two -->\n<!-- end -->\n"
    new = written_into(page, {"one": "new \\1", "two": "newer"})
    assert new == "a\n<!-- abuse: one -->\nnew \\1\n<!-- end -->\nb\n<!-- abuse: two -->\nnewer\n<!-- end -->\n"
    assert written_into(new, {"one": "old\nold", "two": "newer"}).count("old") == 2
    with pytest.raises(ValueError, match="no place for: three"):
        written_into(page, {"three": "x"})


def test_the_page_for_operators_has_every_row() -> None:
    rows = re.findall(r"^\| ([a-z0-9-]+) \| [\d,]+ \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [row.name for row in ROWS]
