"""`frequency` as clients write it, the server's floor, and what the answer shows (protocol.md, section 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.frequency_model import REAL_TIME, interval_text
from core.frequency_model import parse as expected
from core.harness import Message, Server
from core.model import FILTERS
from core.paced import SOON, Stage
from valtronics_fast._core.frequency import parse
from valtronics_fast._core.wire import CHANNELS

VALUES = [name for name in FILTERS if "metrics" in FILTERS[name]]
EVENTS = [name for name in FILTERS if "metrics" not in FILTERS[name]]

units = st.sampled_from(["ms", "s", "m", "h"])
intervals = st.one_of(
    st.just("real-time"),
    st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 10**9), units),
    st.sampled_from(["1000ms", "1s", "60000ms", "60s", "1m", "90s", "60m", "1h", "999999999h"]),
)
deadbands = st.one_of(
    st.integers(0, 2**53),
    st.floats(min_value=0, allow_infinity=True),
    st.integers(0, 999).map("{}%".format),
    st.floats(0, 1e6).map(lambda share: f"{share:.6f}%"),
)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=6), st.just([])
)
texts = st.from_regex(r"[-+0-9 .e]{0,3}[0-9](ms|s|m|h|S|d|%| s)?\n?", fullmatch=True) | scalars
anything = st.one_of(
    intervals,
    texts,
    st.fixed_dictionaries({"every": intervals}, optional={"deadband": deadbands}),
    st.fixed_dictionaries({}, optional={"every": texts | intervals, "deadband": texts | deadbands, "x": scalars}),
)
floors = st.one_of(st.sampled_from([0.0, 1.0, 3600.0]), st.integers(1, 10**7).map(lambda number: number / 1000))


@given(anything, floors)
@settings(max_examples=500)
def test_any_value_against_the_oracle(value: Any, floor: float) -> None:
    found, wanted = parse(value, floor), expected(value, floor)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        interval, deadband, relative = found[0] or (0, 0, False)
        assert (found[0] is None) == (wanted.pace == REAL_TIME)
        assert interval == pytest.approx(wanted.pace.interval, rel=1e-12)
        assert (deadband, relative) == (wanted.pace.deadband, wanted.pace.relative)
        assert found[1] == wanted.shown


@pytest.mark.parametrize(
    ("value", "key", "shown"),
    [
        (None, None, "real-time"),
        ("real-time", None, "real-time"),
        ("1ms", (0.001, 0, False), "1ms"),
        ("30s", (30, 0, False), "30s"),
        ("5m", (300, 0, False), "5m"),
        ("24h", (86400, 0, False), "24h"),
        ("999999999h", (999999999 * 3600, 0, False), "999999999h"),
        ({"every": "1s"}, (1, 0, False), "1s"),
        ({"every": "real-time"}, None, "real-time"),
        ({"every": "1s", "deadband": 0}, (1, 0, False), "1s"),
        ({"every": "1s", "deadband": 0.0}, (1, 0, False), "1s"),
        ({"every": "1s", "deadband": "0%"}, (1, 0, False), "1s"),
        ({"every": "1s", "deadband": "0.000%"}, (1, 0, False), "1s"),
        ({"every": "1s", "deadband": 0.5}, (1, 0.5, False), {"every": "1s", "deadband": 0.5}),
        ({"every": "1s", "deadband": "2%"}, (1, 0.02, True), {"every": "1s", "deadband": "2%"}),
        ({"every": "1s", "deadband": "02.50%"}, (1, 0.025, True), {"every": "1s", "deadband": "02.50%"}),
        ({"every": "real-time", "deadband": 3}, (0, 3, False), {"every": "real-time", "deadband": 3}),
    ],
)
def test_what_is_understood_and_shown(value: object, key: object, shown: object) -> None:
    assert parse(value) == (key, shown)


@pytest.mark.parametrize(
    "value",
    [
        "", "s", "1", "0s", "00s", "01s", "-1s", "+1s", "1.5s", "1e3s", " 1s", "1s ", "1s\n", "1 s", "1S", "1d",
        "1000000000s", "Real-time", "realtime", "\u0661s", "1\u00b5s", 1, 1.0, True, False, [], ["1s"], b"1s", {},
        {"deadband": 1},
        {"every": None}, {"every": 1}, {"every": ["1s"]}, {"every": {"every": "1s"}}, {"every": "1s", "Deadband": 1},
        {"every": "1s", "deadband": None}, {"every": "1s", "deadband": -0.5}, {"every": "1s", "deadband": True},
        {"every": "1s", "deadband": "1"}, {"every": "1s", "deadband": "-1%"}, {"every": "1s", "deadband": "1%\n"},
        {"every": "1s", "deadband": "%"}, {"every": "1s", "deadband": "1.%"}, {"every": "1s", "deadband": ".5%"},
        {"every": "1s", "deadband": "1e2%"}, {"every": "1s", "deadband": "9" * 400 + "%"},
        {"every": "1s", "deadband": float("inf")}, {"every": "1s", "deadband": float("nan")},
        {"every": "1s", "deadband": 1 << 53}, {"every": "1s", "deadband": 10**400}, {"every": "1s", "deadband": [1]},
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_is_none(value: object) -> None:
    assert parse(value) is None


@pytest.mark.parametrize(
    ("same", "as_this"), [("1000ms", "1s"), ("60s", "1m"), ("60000ms", "1m"), ("60m", "1h"), ("3600s", "1h")]
)
def test_equal_intervals_are_the_same_clock_however_they_are_written(same: str, as_this: str) -> None:
    found, wanted = parse(same), parse(as_this)
    assert found is not None
    assert wanted is not None
    assert found[0] == wanted[0]
    assert (found[1], wanted[1]) == (same, as_this)


@pytest.mark.parametrize(
    ("floor", "text"),
    [
        (0.001, "1ms"), (0.25, "250ms"), (1, "1s"), (1.5, "1500ms"), (59, "59s"), (60, "1m"), (61, "61s"), (90, "90s"),
        (119.9996, "2m"), (3600, "1h"), (5400, "90m"), (86400, "24h"),
    ],
)  # fmt: skip
def test_the_servers_smallest_interval_lowers_the_rate(floor: float, text: str) -> None:
    assert interval_text(floor) == text
    assert parse(None, floor) == parse("real-time", floor) == ((floor, 0, False), text)
    assert parse({"every": "real-time", "deadband": "5%"}, floor) == (
        (floor, 0.05, True),
        {"every": text, "deadband": "5%"},
    )
    assert parse("48h", floor) == ((172800, 0, False), "48h")


def test_an_interval_that_is_as_long_stays_as_it_was_written() -> None:
    assert parse("60s", 60) == ((60, 0, False), "60s")
    assert parse("59s", 60) == ((60, 0, False), "1m")


# What the answer to a subscribe command shows, and what the client then gets.


@pytest.mark.parametrize("channel", VALUES)
@pytest.mark.parametrize(
    ("server", "token", "asked", "shown"),
    [
        (0, 0, "real-time", "real-time"),
        (0, 0, None, "real-time"),
        (0, 0, "1s", "1s"),
        (0, 0, ["1s"], "1s"),
        (0, 0, {"every": "60s", "deadband": "2%"}, {"every": "60s", "deadband": "2%"}),
        (0, 0, {"every": "60s", "deadband": 0}, "60s"),
        (0.5, 0, None, "500ms"),
        (0.5, 0, "499ms", "500ms"),
        (0.5, 0, "1s", "1s"),
        (0, 2, "1s", "2s"),
        (0.5, 2, "1s", "2s"),
        (2, 0.5, {"every": "1s", "deadband": 1}, {"every": "2s", "deadband": 1}),
    ],
)
async def test_the_answer_shows_what_is_in_force(
    channel: str, server: float, token: float, asked: object, shown: object
) -> None:
    async with Server(min_interval=server) as running:
        client = await running.login(running.token(min_interval=token))
        forms: list[dict[str, object]] = [
            {"frequency": asked},
            {"filters": {"frequency": asked}},
            {"filters": {"frequency": asked}, "frequency": "7h"},
        ]
        for form in forms[: 3 if asked is not None else 2]:
            answer = await client.ask(type="subscribe", id=1, channel=channel, **form)
            assert answer["frequency"] == shown


@pytest.mark.parametrize("channel", EVENTS)
async def test_events_come_in_real_time_whatever_the_smallest_interval_is(channel: str) -> None:
    event: dict[str, Message] = {
        "alerts": {"type": "alert", "severity": "low"},
        "devices": {"type": "device_status_update", "new_status": "on"},
    }
    async with Server(min_interval=60) as server:
        client = await server.login(server.token(min_interval=60))
        assert "frequency" not in await client.ask(type="subscribe", id=1, channel=channel)
        implicit = await server.login(endpoint=CHANNELS[channel])
        for _ in range(3):
            assert server.hub.publish(event[channel] | {"device_id": 1}) == 2
        for one in (client, implicit):
            assert len(await one.settled()) == 3


@pytest.mark.parametrize(("server", "token"), [(0.1, 0), (0, 0.1), (0.1, 0.05)])
@pytest.mark.parametrize("channel", VALUES)
async def test_the_smallest_interval_holds_for_an_endpoints_own_subscription(
    channel: str, server: float, token: float
) -> None:
    async with Stage(min_interval=server) as stage:
        name = stage.token(seconds=1e9, min_interval=token)
        client = await stage.login(name, endpoint=CHANNELS[channel])
        device = 1 if channel == "telemetry" else None
        for value in (1, 2, 3):
            stage.at(value).publish(device, t=value)
        assert len(await client.settled()) == 1
        stage.at(120 + SOON).tick()
        assert len(await client.settled()) == 1
