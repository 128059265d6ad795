from __future__ import annotations

import json

from valtronics_fast.load.campaign import Plan, Result
from valtronics_fast.load.meter import Busy
from valtronics_fast.load.publisher import Publisher
from valtronics_fast.load.report import as_dict, as_text, bar
from valtronics_fast.load.tally import Tally

PLAN = Plan("ws://a/ws", ["t"], [{"channel": "telemetry"}], 10, 1.0, 2.0, 5.0, "http://a", {}, 1)
IDLE = Busy(2.0, 0.25, 0.001, 0.002)


def result() -> Result:
    tally = Tally("m")
    for milliseconds in (1, 2, 3, 100):
        tally.delivering.record(milliseconds / 1000)
    for _ in range(8):
        tally.connecting.record(0.0005)
        tally.authenticating.record(0.0001)
    tally.ready, tally.messages, tally.octets, tally.seconds = 8, 40, 2 << 20, 2.0
    tally.errors.update({"HTTP 429": 2})
    publisher = Publisher("http://a", {}, rate=5.0, devices=1, tally=tally)
    publisher.sent, publisher.accepted, publisher.matched = 10, 9, 4
    return Result(PLAN, tally, IDLE, IDLE, publisher, interrupted=False)


def test_a_report_for_people() -> None:
    lines = as_text(result()).splitlines()
    assert lines[:3] == [
        "connections  8 of 10 ready   4 opened a second",
        "received     40 messages in 2.0 s   20/s   1.00 MiB/s",
        "published    9 of 10 accepted   4 deliveries of 4 that matched",
    ]
    head = lines.index(next(line for line in lines if line.startswith("LATENCY")))
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["connect", "authenticate", "deliver"]
    assert lines[head + 3].endswith("100.00 ms")
    bars = lines[lines.index("DELIVERED WITHIN") + 1 :]
    assert [int(line.split()[-1]) for line in bars[:8]] == [1, 1, 1, 0, 0, 0, 0, 1]
    assert "         2  HTTP 429" in lines
    assert "this client, measuring: 25% of a CPU, event loop late 1.00 ms (p99), 2.00 ms (max)" in lines
    assert "NOT USABLE" not in "".join(lines)


def test_a_report_that_is_not_usable_says_why() -> None:
    busy = result()._replace(measuring=Busy(2.0, 0.99, 0.5, 0.5), interrupted=True)
    lines = as_text(busy).splitlines()
    assert [line.partition(":")[0] for line in lines[-3:-1]] == ["NOT USABLE", "NOT USABLE"]
    assert lines[-1] == "It was ended before its time."
    assert as_dict(busy)["usable"] is False


def test_a_report_of_nothing() -> None:
    nothing = Result(PLAN, Tally("m"), None, None, None, interrupted=True)
    assert as_text(nothing).startswith("connections  0 of 10 ready")
    assert json.loads(json.dumps(as_dict(nothing)))["published"] is None


def test_a_report_for_programs() -> None:
    found = json.loads(json.dumps(as_dict(result())))
    assert found["usable"] is True
    assert found["connections"] == {"asked": 10, "opened": 8, "ready": 8, "per_second": 4.0}
    assert found["messages"]["per_second"] == 20
    assert found["latency"]["deliver"]["count"] == 4
    assert found["errors"] == {"HTTP 429": 2}
    assert found["client"]["measuring"]["cpu"] == 0.25


def test_bars() -> None:
    assert [bar(done, 4, 4) for done in (0, 1, 4, 9)] == ["----", "#---", "####", "####"]
    assert bar(0, 0, 3) == "###"
