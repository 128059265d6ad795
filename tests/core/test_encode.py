"""Frames of publications, answers and closes (RFC 6455, 5.2; protocol.md, section 3)."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.oracle import is_text, server_frame
from valtronics_fast._core.encode import closing_frame, encode, text_frame
from valtronics_fast._core.publication import PublicationError
from valtronics_fast._core.wire import CLOSE_REASONS, ErrorCode

TEXT, CLOSE = 0x1, 0x8
AT = "2024-01-01T12:00:00Z"
SIZES = [2, 3, 124, 125, 126, 127, 128, 255, 256, 257, 65534, 65535, 65536, 65537, 70_000, 2**24 + 3]

TELEMETRY: dict[str, Any] = {
    "type": "telemetry_update",
    "channel": "telemetry",
    "device_id": 1,
    "telemetry": {
        "temperature": {"value": 23.5, "unit": "\u00b0C", "timestamp": AT},
        "humidity": {"value": 45.2, "unit": "%", "timestamp": AT},
    },
}
ALERT: dict[str, Any] = {
    "type": "alert",
    "channel": "alerts",
    "alert_id": 123,
    "device_id": 1,
    "severity": "critical",
    "title": "High Temperature Alert",
    "message": "Temperature exceeds safe threshold",
    "timestamp": AT,
    "metadata": {"threshold_value": 30.0, "actual_value": 32.5},
}
STATUS: dict[str, Any] = {
    "type": "device_status_update",
    "channel": "devices",
    "device_id": 1,
    "old_status": "online",
    "new_status": "offline",
    "timestamp": AT,
    "reason": "Connection lost",
    "metadata": {"last_seen": "2024-01-01T11:45:00Z"},
}
SYSTEM: dict[str, Any] = {
    "type": "system_status_update",
    "channel": "system",
    "metrics": {"cpu_usage": 45.2, "memory_usage": 67.8, "disk_usage": 23.1, "active_connections": 15},
    "timestamp": AT,
}
# The four data messages of the API page.
MESSAGES = [TELEMETRY, ALERT, STATUS, SYSTEM]
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text())
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=16)


def json_bytes(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def payload_of(frame: bytes) -> Any:
    """Return the document in a text frame, whose header has to be right."""
    for header in (2, 4, 10):
        if server_frame(TEXT, frame[header:]) == frame:
            return json.loads(frame[header:])
    raise AssertionError(frame[:20])


@pytest.mark.parametrize("size", SIZES)
def test_the_header_says_the_size(size: int) -> None:
    document = "x" * (size - 2)
    assert text_frame(document) == server_frame(TEXT, json_bytes(document))


@pytest.mark.parametrize("size", [120, 125, 126, 127, 65535, 65536])
def test_the_header_of_a_publication_says_the_size(size: int) -> None:
    message: dict[str, Any] = {"type": "system_status_update", "metrics": {"m": ""}, "timestamp": ""}
    message["metrics"]["m"] = "x" * (size - (len(encode(message)) - 2))
    frame = encode(message)
    assert len(payload_of(frame)["metrics"]["m"]) == len(message["metrics"]["m"])
    assert len(frame) - size == (2 if size <= 125 else 4 if size <= 65535 else 10)


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_any_document_comes_back(document: object) -> None:
    assert payload_of(text_frame(document)) == document


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message["type"])
def test_the_messages_of_the_api_page_go_out_as_they_stand(message: dict[str, Any]) -> None:
    assert encode(message) == server_frame(TEXT, json_bytes(message))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message["type"])
def test_the_order_of_the_fields_is_the_api_pages(message: dict[str, Any]) -> None:
    shuffled = dict(reversed(message.items()))
    assert json.loads(encode(shuffled)[4:]) == message
    assert encode(shuffled) == encode(message)


@given(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=20),
    st.sets(NAMES),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_projection_has_the_named_metrics_only(
    values: dict[str, object], strange: set[str], source: Any, telemetry: bool
) -> None:
    names = {name for name in values if source.random() < 0.5} | strange
    metrics = {name: {"value": value, "unit": None, "timestamp": AT} for name, value in values.items()}
    field = "telemetry" if telemetry else "metrics"
    message: dict[str, Any] = {**TELEMETRY, field: metrics} if telemetry else {**SYSTEM, field: values}
    expected = {name: value for name, value in message[field].items() if name in names}
    assert list(payload_of(encode(message, names))[field].items()) == list(expected.items())
    assert payload_of(encode(message, names)) == {**message, field: expected}
    assert payload_of(encode(message, [])) == {**message, field: {}}
    assert encode(message, list(values)) == encode(message)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 255, 256])
def test_projections_reach_every_metric(count: int) -> None:
    metrics = {f"m{i}": i for i in range(count)}
    message = {**SYSTEM, "metrics": metrics}
    assert payload_of(encode(message))["metrics"] == metrics
    for i in {0, 1, 62, 63, 64, 127, 128, 191, 192, 254, 255} & set(range(count)):
        assert payload_of(encode(message, [f"m{i}"]))["metrics"] == {f"m{i}": i}


@pytest.mark.parametrize("message", [ALERT, STATUS], ids=lambda message: message["type"])
def test_events_are_not_projected(message: dict[str, Any]) -> None:
    assert encode(message, []) == encode(message)


@pytest.mark.parametrize("device", [7, "7", "sensor-\u00e9", '"\\\n\x01', -(2**63)])
def test_the_device_id_goes_out_as_it_was_given(device: int | str) -> None:
    for message in (TELEMETRY, ALERT, STATUS):
        shown = payload_of(encode({**message, "device_id": device}))["device_id"]
        assert (shown, type(shown)) == (device, type(device))


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", object, {1: 2}, {"x": b"y"}], ids=repr)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message["type"])
def test_what_is_not_json_is_an_error_of_the_publisher(message: dict[str, Any], value: object) -> None:
    bad = deepcopy(message)
    if "telemetry" in bad:
        bad["telemetry"]["humidity"]["value"] = value
    else:
        bad["metrics" if "metrics" in bad else "metadata"]["x"] = value
    with pytest.raises(PublicationError, match="JSON") as raised:
        encode(bad)
    assert raised.value.code is ErrorCode.INVALID_MESSAGE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_number_is_null(value: float) -> None:
    frame = encode({**SYSTEM, "metrics": {"cpu": value}})
    assert frame[2:] == json_bytes({**SYSTEM, "metrics": {"cpu": None}})


@pytest.mark.parametrize("code", [code for code in CLOSE_REASONS if code not in {1005, 1006}])
def test_closes_of_the_protocol(code: int) -> None:
    reason = CLOSE_REASONS[code]
    assert closing_frame(code, reason) == server_frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
    assert closing_frame(code) == server_frame(CLOSE, code.to_bytes(2, "big"))


def test_a_close_without_a_code_has_no_payload() -> None:
    assert closing_frame(1005) == server_frame(CLOSE, b"")
    assert closing_frame(1005, "a reason") == server_frame(CLOSE, b"")


@given(st.text(max_size=200))
@example("x" * 122 + "\u00e9")
def test_a_close_is_a_control_frame_of_valid_text(reason: str) -> None:
    frame = closing_frame(1000, reason)
    assert frame[:1] == b"\x88"
    assert frame[1] == len(frame) - 2 <= 125
    assert frame[2:4] == b"\x03\xe8"
    sent = frame[4:]
    assert reason.encode().startswith(sent)
    assert is_text(sent)
    assert len(sent) == len(reason.encode()) or len(sent) > 119
