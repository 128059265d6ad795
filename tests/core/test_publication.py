"""The normal form of data messages (protocol.md, section 3), seen through encode()."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.oracle import device_key
from valtronics_fast._core.encode import encode
from valtronics_fast._core.publication import Publication, PublicationError, channel_of
from valtronics_fast._core.wire import Channel, ErrorCode

AT = "2024-01-01T12:00:00Z"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Stand for what a publication is completed with.
NOW = "<the time of the publication>"
NEW_ID = "<an id of its own>"
TITLE = "<a title>"

CHANNELS = {
    "telemetry_update": "telemetry",
    "alert": "alerts",
    "device_status_update": "devices",
    "system_status_update": "system",
}
TELEMETRY = {"type": "telemetry_update", "device_id": 1, "telemetry": {"t": 1}}
ALERT = {"type": "alert", "severity": "critical"}
STATUS = {"type": "device_status_update", "device_id": 1, "new_status": "offline"}
SYSTEM = {"type": "system_status_update", "metrics": {"cpu": 1}}
MINIMAL: list[dict[str, Any]] = [TELEMETRY, ALERT, STATUS, SYSTEM]


def is_name(value: object) -> bool:
    """Say whether a value can name a metric, severity, alert type or status: 1 to 128 bytes of UTF-8."""
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= 128
    except UnicodeEncodeError:
        return False


def given_or(value: object, default: object) -> object:
    """Null is as good as absent."""
    return default if value is None else value


def metric(value: object) -> dict[str, object] | None:
    if not isinstance(value, dict):
        return None if isinstance(value, list | tuple) else {"value": value, "unit": None, "timestamp": NOW}
    if "value" not in value:
        return None
    return {**value, "unit": value.get("unit"), "timestamp": given_or(value.get("timestamp"), NOW)}


def normal_form(message: object) -> dict[str, object] | str:
    """Return what subscribers without a filter get of a publication, or the name of the error that it is."""
    if not isinstance(message, Mapping):
        return "invalid_message"
    kind, device = message.get("type"), message.get("device_id")
    if kind is None:
        return "missing_type"
    if not isinstance(kind, str) or kind not in CHANNELS:
        return "unknown_type"
    channel = CHANNELS[kind]
    if message.get("channel") not in (None, channel):
        return "unknown_channel"
    device_is_optional = channel == "system" or (channel == "alerts" and device is None)
    if not device_is_optional and device_key(device) is None:
        return "invalid_message"
    head = {"type": kind, "channel": channel}
    now = given_or(message.get("timestamp"), NOW)
    metadata = given_or(message.get("metadata"), {})
    if channel in {"telemetry", "system"}:
        values = message.get("telemetry" if channel == "telemetry" else "metrics")
        if not isinstance(values, dict) or not 1 <= len(values) <= 256 or not all(map(is_name, values)):
            return "invalid_message"
        if channel == "system":
            return {**head, "metrics": values, "timestamp": now}
        metrics = {name: metric(value) for name, value in values.items()}
        if None in metrics.values():
            return "invalid_message"
        return {**head, "device_id": device, "telemetry": metrics}
    if channel == "devices":
        old, new = message.get("old_status"), message.get("new_status")
        if not is_name(new) or not (old is None or is_name(old)):
            return "invalid_message"
        status = {"old_status": old, "new_status": new, "timestamp": now, "reason": message.get("reason")}
        return {**head, "device_id": device, **status, "metadata": metadata}
    severity, alert_type = message.get("severity"), message.get("alert_type")
    if not is_name(severity) or not (alert_type is None or is_name(alert_type)):
        return "invalid_message"
    title = given_or(message.get("title"), TITLE)
    texts = {"title": title, "message": given_or(message.get("message"), title)}
    ids = {"alert_id": given_or(message.get("alert_id"), NEW_ID), "device_id": device}
    return {**message, **head, **ids, **texts, "timestamp": now, "metadata": metadata}


def published(message: Any) -> Any:
    """Return the document that goes out, or the name of the error."""
    try:
        frame = encode(message)
    except PublicationError as error:
        return error.code.name.lower()
    return json.loads(frame[2 if frame[1] < 126 else 4 if frame[1] == 126 else 10 :])


def same(actual: Any, expected: Any) -> bool:
    if expected is NOW:
        return isinstance(actual, str) and TIMESTAMP.fullmatch(actual) is not None
    if expected is NEW_ID:
        return type(actual) is int and 0 < actual < 2**53
    if expected is TITLE:
        return isinstance(actual, str) and actual == actual.strip() and actual.endswith("Alert")
    if isinstance(expected, dict) and isinstance(actual, dict):
        return set(actual) == set(expected) and all(same(actual[key], expected[key]) for key in expected)
    return bool(actual == expected) and type(actual) is type(expected)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-2, 2), st.text(max_size=4))
NAMES = st.sampled_from(["t", "critical", "over_heat", "\u00b0C", "x" * 128, "\u00e9" * 64])
METRIC = st.fixed_dictionaries(
    {"value": SCALARS},
    optional={"unit": st.none() | SCALARS, "timestamp": st.none() | st.just(AT), "metadata": SCALARS},
)
METRICS = st.dictionaries(NAMES, SCALARS | METRIC, min_size=1, max_size=3)
GOOD: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "telemetry_update": {"telemetry": METRICS},
    "alert": {
        "severity": NAMES,
        "alert_type": NAMES | st.none(),
        **dict.fromkeys(["title", "message", "alert_id"], SCALARS),
    },
    "device_status_update": {"new_status": NAMES, "old_status": NAMES | st.none(), "reason": SCALARS},
    "system_status_update": {"metrics": METRICS},
}
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "device_id": st.sampled_from([1, "1", "x", "x" * 64, -5]),
    "timestamp": SCALARS,
    "metadata": SCALARS | METRIC,
    "extra": SCALARS,
}
NO_NAMES = st.sampled_from(["", "x" * 129, "\u00e9" * 65, 5, True, [], {}])
NO_METRICS: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, [], {}, {"": 1}, {"x" * 129: 1}, {"\u00e9" * 65: 1}, {"t": [1]}, {"t": {"unit": "V"}}]
)
BAD = {
    "device_id": st.sampled_from([None, "", "x" * 65, True, 1.5, 2**63, []]),
    "channel": st.sampled_from([None, *CHANNELS.values(), "x", 5, []]),
    "telemetry": NO_METRICS,
    "metrics": NO_METRICS,
    **dict.fromkeys(["severity", "alert_type", "new_status", "old_status"], NO_NAMES | st.none()),
}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a data message with fields that its type knows or not, and one time in two spoil one of them."""
    minimal = draw(st.sampled_from(MINIMAL))
    fields = draw(st.fixed_dictionaries({}, optional=GOOD[minimal["type"]] | COMMON))
    message: dict[str, Any] = {**minimal, **fields}
    if draw(st.booleans()):
        key = draw(st.sampled_from([*BAD]))
        message[key] = draw(BAD[key])
    return message


@settings(max_examples=300)
@given(messages())
def test_it_agrees_with_the_oracle(message: dict[str, Any]) -> None:
    before = deepcopy(message)
    actual, expected = published(message), normal_form(message)
    assert same(actual, expected), (actual, expected)
    assert message == before


@pytest.mark.parametrize("message", MINIMAL, ids=lambda message: message["type"])
def test_missing_fields_are_filled(message: dict[str, Any]) -> None:
    assert same(published(message), normal_form(message))
    assert same(published(MappingProxyType(message)), normal_form(message))
    assert channel_of(message) == Channel[CHANNELS[message["type"]].upper()]


def test_an_alert_is_completed_in_the_documented_order() -> None:
    document = published({**ALERT, "alert_type": "high_temperature", "extra": 5})
    assert list(document) == ["type", "channel", "alert_id", "device_id", "severity", "title", "message",
                              "timestamp", "metadata", "alert_type", "extra"]  # fmt: skip
    assert document["device_id"] is None                    # an alert of the whole platform


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "Critical Alert"),
        ({"alert_type": "overheat"}, "Overheat Alert"),
        ({"alert_type": "high_temperature"}, "High Temperature Alert"),
        ({"alert_type": "highTemperature"}, "High Temperature Alert"),
        ({"alert_type": "battery-low.alert"}, "Battery Low Alert"),
        ({"alert_type": "__"}, "Alert"),
        ({"title": ""}, ""),
    ],
)
def test_an_alert_without_a_title_gets_one(fields: dict[str, Any], title: str) -> None:
    document = published({**ALERT, **fields})
    assert (document["title"], document["message"]) == (title, title)


def test_a_status_change_has_the_documented_fields_only() -> None:
    document = published({**STATUS, "extra": 5, "severity": "x"})
    assert list(document) == ["type", "channel", "device_id", "old_status", "new_status", "timestamp",
                              "reason", "metadata"]  # fmt: skip


def test_a_metric_keeps_its_extra_fields() -> None:
    given_metric = {"value": 1, "unit": "V", "timestamp": AT, "metadata": {"q": [1]}, "extra": None}
    assert published({**TELEMETRY, "telemetry": {"t": given_metric}})["telemetry"]["t"] == given_metric


@pytest.mark.parametrize("rest", [{}, {"unit": "V"}, {"unit": None}], ids=repr)
def test_a_null_timestamp_is_filled(rest: dict[str, Any]) -> None:
    message = {**TELEMETRY, "telemetry": {"t": {"value": 1, "timestamp": None, **rest}}}
    assert TIMESTAMP.fullmatch(published(message)["telemetry"]["t"]["timestamp"])


def test_alerts_without_an_id_are_numbered() -> None:
    numbers = [published(ALERT)["alert_id"] for _ in range(100)]
    assert numbers == sorted(set(numbers))
    assert 0 < numbers[0] < numbers[-1] < 2**53             # JavaScript reads them
    assert published({**ALERT, "alert_id": 0})["alert_id"] == 0


@pytest.mark.parametrize("count", [0, 1, 256, 257])
def test_a_message_has_1_to_256_metrics(count: int) -> None:
    metrics = {f"m{i}": i for i in range(count)}
    for message in ({**TELEMETRY, "telemetry": metrics}, {**SYSTEM, "metrics": metrics}):
        assert (published(message) == "invalid_message") is not (1 <= count <= 256)


@pytest.mark.parametrize("name", ["", "x" * 129, "\u00e9" * 65, "\ud800", 5, None])
def test_a_metric_has_a_name_of_1_to_128_bytes(name: Any) -> None:
    assert published({**SYSTEM, "metrics": {"x": 1, "x" * 128: 1, "\u00e9" * 64: 1}}) != "invalid_message"
    assert published({**TELEMETRY, "telemetry": {"ok": 1, name: 1}}) == "invalid_message"
    assert published({**SYSTEM, "metrics": {"ok": 1, name: 1}}) == "invalid_message"


@pytest.mark.parametrize("value", ["", "x" * 129, "\ud800", 5, ["critical"], True])
def test_what_events_are_filtered_by_is_a_name(value: Any) -> None:
    for message, keys in ((ALERT, ("severity", "alert_type")), (STATUS, ("new_status", "old_status"))):
        for key in keys:
            assert published({**message, key: value}) == "invalid_message"
    assert published({**ALERT, "severity": None}) == "invalid_message"
    assert published({**STATUS, "new_status": None}) == "invalid_message"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (None, "invalid_message"),
        ("alert", "invalid_message"),
        ("", "invalid_message"),
        ([], "invalid_message"),
        ([["type", "alert"], ["severity", "critical"]], "invalid_message"),
        ({}, "missing_type"),
        ({"type": None}, "missing_type"),
        ({"type": "subscribe"}, "unknown_type"),
        ({"type": ["alert"]}, "unknown_type"),
        ({**ALERT, "channel": "telemetry"}, "unknown_channel"),
        ({**STATUS, "device_id": None}, "invalid_message"),
        ({**TELEMETRY, "device_id": "x" * 65}, "invalid_message"),
        ({**ALERT, "device_id": "\ud800"}, "invalid_message"),
        ({**TELEMETRY, "telemetry": {"t": {"unit": "V"}}}, "invalid_message"),
        ({**TELEMETRY, "telemetry": {"t": [1]}}, "invalid_message"),
    ],
)
def test_what_is_no_data_message(message: Any, error: str) -> None:
    assert published(message) == error


def test_the_error_is_a_value_error_with_a_code_and_a_text() -> None:
    error = PublicationError(5, "for people")
    assert isinstance(error, ValueError)
    assert (error.code, str(error)) == (ErrorCode.UNKNOWN_CHANNEL, "for people")


@pytest.mark.parametrize("kind", [None, "", "telemetry", "subscribe", 5, [], "\ud800"])
def test_other_types_belong_to_no_channel(kind: object) -> None:
    assert channel_of({"type": kind}) is None
    assert channel_of({}) is None


def test_a_publication_is_only_made_by_the_core() -> None:
    with pytest.raises(AttributeError):
        Publication().channel = 1
