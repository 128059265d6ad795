"""The campaign in small; and each of its measures can fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.__main__ import run
from cluster.campaign import Result, Row
from cluster.ledger import Published, Receipts, Stream, Tally
from cluster.nodes import LOGS
from cluster.report import as_markdown, as_text, markers, write
from cluster.rows import ROWS

STREAM: Stream = ("telemetry", 7)
ALERTS: Stream = ("alerts", 7)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
# The others are like one of these, and take longer.
QUICK = ["node-killed", "rolling-restart", "log-emptied", "clients-move", "cut-swallowed"]


async def _nothing(_: object) -> None:
    pass


def _result(
    *, lossless: bool = False, apart: bool = False, heal: float | None = 1.0, fault: str = "", **tally: int
) -> Result:
    row = Row("row", "something happens", _nothing, lossless=lossless, apart=apart)
    faults = [fault] if fault else []
    return Result(row, Tally(**({"expected": 10, "once": 10} | tally)), heal=heal, faults=faults)


def _receipts(published: int, stream: Stream = STREAM) -> tuple[Published, Receipts]:
    log = Published()
    for _ in range(published):
        log.next(stream)
    return log, Receipts(log, [stream])


def _counts(receipts: Receipts) -> dict[str, int]:
    return {name: count for name, count in vars(receipts.settle()).items() if count and name != "expected"}


@pytest.mark.timeout(600)
async def test_three_nodes_lose_nothing_silently(tmp_path: Path) -> None:
    results = await run(QUICK, tmp_path, log="redis", quick=True, clients=120)
    assert {result.row.name: result.failures() for result in results} == {name: [] for name in QUICK}
    assert sum(result.returns.total() for result in results) > 0


def test_a_row_passes() -> None:
    assert _result(again=1, announced=1, replayed=1).failures() == []
    assert _result(apart=True, older=1).failures() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"lost": 1},
        {"disordered": 1},
        {"doubled": 1},
        {"older": 1},
        {"announced": 1, "lossless": True},
        {"heal": None},
        {"expected": 0},
        {"fault": "a node has a traceback in its log"},
    ],
)
def test_a_row_fails(changes: dict[str, int]) -> None:
    assert len(_result(**changes).failures()) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "counts"),
    [
        ((1, 2, 3), {"once": 3}),
        ((1, 3), {"once": 2, "lost": 1}),
        ((1, 2), {"once": 2, "lost": 1}),
        ((1, 3, 2), {"once": 3, "disordered": 1}),
        ((1, 2, 2, 3), {"once": 3, "doubled": 1}),
    ],
)
def test_what_a_client_gets_is_compared_with_what_was_published(
    numbers: tuple[int, ...], counts: dict[str, int]
) -> None:
    _, receipts = _receipts(3)
    for number in numbers:
        receipts.take(STREAM, number, with_offset=True)
    assert receipts.is_complete() is (counts.get("lost", 0) == 0)
    assert _counts(receipts) == counts


@pytest.mark.parametrize("early", [True, False])
def test_a_loss_may_be_announced_before_the_next_message_or_behind_it(early: bool) -> None:
    _, receipts = _receipts(3)
    receipts.take(STREAM, 1, with_offset=True)
    if early:
        receipts.announce()
    receipts.take(STREAM, 3, with_offset=not early)
    if not early:
        receipts.announce()
        receipts.take(STREAM, 3, with_offset=False)  # the snapshot
    assert _counts(receipts) == {"once": 2, "announced": 1}


def test_an_announcement_covers_nothing_that_is_missed_later() -> None:
    _, receipts = _receipts(4)
    receipts.announce()
    for number in (1, 2, 4):
        receipts.take(STREAM, number, with_offset=True)
    assert _counts(receipts) == {"once": 3, "lost": 1}


def test_a_snapshot_brings_the_newest_value() -> None:
    _, receipts = _receipts(2)
    receipts.take(STREAM, 1, with_offset=True)
    receipts.announce()
    assert not receipts.is_complete()
    assert _counts(receipts) == {"once": 1, "lost": 1}


def test_a_snapshot_that_goes_back_in_time_is_noticed() -> None:
    _, receipts = _receipts(2)
    for number in (1, 2):
        receipts.take(STREAM, number, with_offset=True)
    receipts.announce()
    receipts.take(STREAM, 1, with_offset=False)
    assert _counts(receipts) == {"once": 2, "older": 1}


def test_alerts_have_no_snapshot() -> None:
    _, receipts = _receipts(2, ALERTS)
    receipts.announce()
    assert receipts.is_complete()
    assert _counts(receipts) == {"announced": 2}


@pytest.mark.parametrize("reason", ["came back", "repeated"])
def test_a_message_may_come_again_for_a_reason(reason: str) -> None:
    published, receipts = _receipts(2)
    receipts.take(STREAM, 1, with_offset=True)
    if reason == "repeated":
        published.repeat([(STREAM, 1)])
    else:
        receipts.come_back()
    receipts.take(STREAM, 1, with_offset=True)
    receipts.take(STREAM, 2, with_offset=True)
    replayed = {} if reason == "repeated" else {"replayed": 1}
    assert _counts(receipts) == {"once": 2, "again": 1, **replayed}


def test_the_table_has_a_line_for_each_row() -> None:
    assert len(as_text([_result()]).splitlines()) == 2
    assert len(as_markdown([_result()]).splitlines()) == 3


def test_the_table_is_renewed_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = markers("redis")
    page.write_text(f"before\n{begin}old\n{end}after\n")
    write(page, "redis", [_result()])
    assert page.read_text() == f"before\n{begin}{as_markdown([_result()])}{end}after\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        write(page, "redis", [])


@pytest.mark.parametrize("log", sorted(LOGS))
def test_the_page_has_every_row(log: str) -> None:
    begin, end = markers(log)
    table = DOCUMENT.read_text().partition(begin)[2].partition(end)[0]
    assert re.findall(r"^\| ([a-z-]+) \|.* ok \|$", table, re.MULTILINE) == [row.name for row in ROWS]
