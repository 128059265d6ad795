from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone

import pytest

from harness import Message, alert, status, system, telemetry
from valtronics_fast.display import MAX_TEXT, json_line, line, note

TIME = "2024-01-01T12:00:00.123Z"
NASTY = "\x1b[2J\x9b\u202e\n\x00"
ESCAPED = "\\x1b[2J\\x9b\\u202e\\n\\x00"


def metric(value: object, unit: str | None = None, timestamp: str = TIME) -> Message:
    return {"value": value, "unit": unit, "timestamp": timestamp}


def plain(message: Message) -> str:
    return line(message, zone=UTC)


def coloured(message: Message) -> str:
    return line(message, colour=True, zone=UTC)


def test_telemetry() -> None:
    message = telemetry(3, temperature=metric(23.5, "°C"), humidity=metric(45.2, "%"), count=metric(7))
    assert plain(message) == "12:00:00  device 3    temperature 23.5 °C  humidity 45.2 %  count 7"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("open", "open"), (True, "true"), (None, "null"), (1e300, "1e+300"), ([1, {"a": "ü"}], '[1,{"a":"ü"}]')],
)
def test_values_of_every_type(value: object, shown: str) -> None:
    assert plain(telemetry(door=metric(value))) == f"12:00:00  device 1    door {shown}"


def test_an_alert() -> None:
    message = alert(message="Above 80 °C", timestamp=TIME, device_id="pump-3")
    assert plain(message) == "12:00:00  device pump-3  CRITICAL  Hot: Above 80 °C"
    for missing in ("", "Hot"):  # the server puts the title in its place
        assert plain(alert("info", timestamp=TIME, message=missing)) == "12:00:00  device 1    INFO      Hot"


def test_an_alert_of_no_device_is_that_of_the_platform() -> None:
    assert plain(alert(timestamp=TIME, device_id=None)) == "12:00:00  platform    CRITICAL  Hot"


def test_a_status_change() -> None:
    message = status(device_id=7, timestamp=TIME, reason="Connection lost")
    assert plain(message) == "12:00:00  device 7    online → offline  (Connection lost)"
    assert plain(status(timestamp=TIME, old_status=None, reason=None)) == "12:00:00  device 1    offline"


def test_figures_of_the_host() -> None:
    message = system(cpu_usage=45.2, memory_usage=67.8) | {"timestamp": TIME}
    assert plain(message) == "12:00:00  system      cpu_usage 45.2  memory_usage 67.8"


def test_the_time_is_that_of_the_newest_metric() -> None:
    newer, older = "2024-01-01T12:00:01Z", "2024-01-01T13:00:00+01:00"
    message = telemetry(a=metric(1, timestamp=newer), b=metric(2, timestamp=older))
    assert plain(message).startswith("12:00:01  ")


def test_the_time_is_told_in_the_time_zone_that_is_asked_for() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert line(status(timestamp=TIME), zone=zone).startswith("17:30:00  ")
    assert line(status(timestamp="2024-01-01T12:00:00"), zone=zone).startswith("17:30:00  "), "no offset means UTC"


@pytest.mark.parametrize("timestamp", ["soon", "", None, 5, ["x"], "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time(timestamp: object) -> None:
    assert plain(status(timestamp=timestamp)) == "--:--:--  device 1    online → offline"


def test_severities_and_statuses_have_colours() -> None:
    assert "\x1b[1;31mCRITICAL\x1b[0m  Hot" in coloured(alert(timestamp=TIME))
    assert "\x1b[33mWARNING \x1b[0m  Hot" in coloured(alert("warning"))
    assert "  odd       Hot" in coloured(alert("odd")).replace("ODD", "odd")
    assert "online → \x1b[31moffline\x1b[0m" in coloured(status())
    assert "online → \x1b[32monline\x1b[0m" in coloured(status("online"))
    assert coloured(telemetry(a=metric(1))) == "\x1b[2m12:00:00\x1b[0m  device 1    \x1b[2ma\x1b[0m 1"


@pytest.mark.parametrize(
    "message",
    [
        telemetry(NASTY, **{NASTY: metric(NASTY, NASTY, NASTY)}),
        telemetry([NASTY], a={NASTY: 1}, b=metric({NASTY: NASTY})),
        alert(NASTY, title=NASTY, message=NASTY, device_id=NASTY),
        alert({NASTY: 1}, title=[NASTY]),  # type: ignore[arg-type]
        status(NASTY, old_status=NASTY, reason=NASTY),
        system(**{NASTY: NASTY}),
    ],
    ids=str,
)
def test_nothing_from_the_wire_reaches_the_terminal_as_it_is(message: Message) -> None:
    shown = plain(message)
    assert "\\x1b[2J" in shown or "\\u001b[2J" in shown
    assert shown.isprintable()
    without_colours = coloured(message)
    for code in ("0", "2", "31", "1;31"):
        without_colours = without_colours.replace(f"\x1b[{code}m", "")
    assert without_colours == shown


@pytest.mark.parametrize(
    "message",
    [
        {"type": "telemetry_update"},
        {"type": "telemetry_update", "telemetry": 5},
        {"type": "telemetry_update", "device_id": {}, "telemetry": {"a": 5}},
        {"type": "alert"},
        {"type": "device_status_update"},
        {"type": "system_status_update", "metrics": [1]},
    ],
    ids=str,
)
def test_an_odd_message_is_a_line_all_the_same(message: Message) -> None:
    assert plain(message).startswith("--:--:--  ")


def test_long_texts_are_cut() -> None:
    shown = plain(telemetry(a=metric("x" * 1000)))
    assert shown.endswith(" a " + "x" * (MAX_TEXT - 1) + "…")
    assert plain(telemetry(a=metric("x" * MAX_TEXT))).endswith(" a " + "x" * MAX_TEXT)


def test_a_json_line_is_the_same_message_without_anything_that_a_terminal_obeys() -> None:
    message = telemetry("ü", temperature=metric(23.5, "°C"), **{NASTY: metric(f"{NASTY}\x7f\u2028")})
    shown = json_line(message)
    assert json.loads(shown) == message
    assert shown.isprintable()
    assert shown.isascii()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            {"type": "error", "error": "forbidden", "message": "no", "channel": "alerts", "id": 1},
            "alerts: forbidden (no)",
        ),
        ({"type": "error", "error": "internal"}, "internal"),
        (
            {"type": "unsubscribed", "channel": "alerts", "reason": "permission_revoked"},
            "alerts: unsubscribed (permission_revoked)",
        ),
        (
            {"type": "unsubscribed", "channel": "alerts", "reason": "permission_revoked", "device_id": [1, "a"]},
            "alerts: unsubscribed from device 1, a (permission_revoked)",
        ),
        (
            {"type": "subscribe_response", "channel": "alerts", "denied": {"device_id": [7]}},
            "alerts: the token does not permit device 7",
        ),
        ({"type": "notice", "count": 5}, '{"type":"notice","count":5}'),
        ({"type": "error", "error": NASTY, "message": NASTY}, f"{ESCAPED} ({ESCAPED})"),
    ],
)
def test_what_the_server_says_about_the_connection(message: Message, shown: str) -> None:
    assert note(message) == shown
