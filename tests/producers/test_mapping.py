"""What becomes of payloads, in the platform's topics."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.producers.mapping import (
    DEFAULT_TOPICS,
    KINDS,
    REASONS,
    MappingError,
    compile_topics,
)

PLATFORM = compile_topics(DEFAULT_TOPICS)
NOON = "2024-01-01T12:00:00Z"


def mapped(topic: str, payload: object = b"") -> tuple[str, list[dict[str, object]]]:
    return PLATFORM.map(topic, payload if isinstance(payload, bytes) else orjson.dumps(payload))


def one(topic: str, payload: object = b"") -> dict[str, object]:
    _, (message,) = mapped(topic, payload)
    return message


def outcome(topic: str, payload: bytes) -> tuple[str, list[dict[str, object]]]:
    """Return what map() returned, or the reason of its refusal and no messages."""
    try:
        return PLATFORM.map(topic, payload)
    except MappingError as error:
        return error.reason, []


def reason_of(topic: str, payload: object = b"") -> str:
    with pytest.raises(MappingError) as caught:
        mapped(topic, payload)
    assert caught.value.reason in REASONS
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


# --- telemetry ---


def test_a_list_of_metrics() -> None:
    kind, messages = mapped(
        "valtronics/17/telemetry",
        {
            "metrics": [
                {"name": "temperature", "value": 23.5, "unit": "°C", "metadata": {"sensor": "a"}},
                {"name": "humidity", "value": 45, "unit": "%", "timestamp": 1704110400500},
            ],
            "timestamp": NOON,
            "gateway": "not a field of the wire",
        },
    )
    assert kind == "telemetry"
    assert messages == [
        {
            "type": "telemetry_update",
            "device_id": 17,
            "telemetry": {
                "temperature": {"value": 23.5, "unit": "°C", "timestamp": NOON, "metadata": {"sensor": "a"}},
                "humidity": {"value": 45, "unit": "%", "timestamp": "2024-01-01T12:00:00.500Z"},
            },
        }
    ]


def test_one_metric_that_names_itself() -> None:
    assert one("valtronics/pump-3/telemetry", {"name": "rpm", "value": 1450, "unit": "1/min"}) == {
        "type": "telemetry_update",
        "device_id": "pump-3",
        "telemetry": {"rpm": {"value": 1450, "unit": "1/min"}},
    }


def test_one_metric_named_by_the_topic() -> None:
    payload = {"value": 1, "unit": "V", "timestamp": 1704110400, "metadata": {"quality": "good"}}
    assert one("valtronics/devices/pump-3/telemetry/voltage", payload) == {
        "type": "telemetry_update",
        "device_id": "pump-3",
        "telemetry": {
            "voltage": {
                "value": 1,
                "unit": "V",
                "timestamp": "2024-01-01T12:00:00.000Z",
                "metadata": {"quality": "good"},
            }
        },
    }


@pytest.mark.parametrize("value", [23.5, -1, "open", True, None])
def test_a_bare_value(value: object) -> None:
    message = one("valtronics/devices/7/telemetry/door", value)
    assert message["telemetry"] == {"door": {"value": value}}


def test_the_topic_names_the_metric_whatever_the_payload_says() -> None:
    assert one("valtronics/devices/7/telemetry/door", {"name": "gate", "value": 1})["telemetry"] == {
        "door": {"value": 1}
    }


def test_a_series_becomes_one_message_a_value() -> None:
    _, messages = mapped(
        "valtronics/1/telemetry",
        {
            "metrics": [
                {"name": "a", "value": 1, "timestamp": 1},
                {"name": "b", "value": 2, "timestamp": 1},
                {"name": "a", "value": 3, "timestamp": 2},
            ]
        },
    )
    assert [list(message["telemetry"]) for message in messages] == [["a", "b"], ["a"]]  # type: ignore[call-overload]
    assert messages[1]["telemetry"] == {"a": {"value": 3, "timestamp": "1970-01-01T00:00:02.000Z"}}


def test_an_absent_or_null_timestamp_is_left_to_publishing() -> None:
    metrics = {"metrics": [{"name": "a", "value": 1, "timestamp": None}], "timestamp": None}
    assert one("valtronics/1/telemetry", metrics)["telemetry"] == {"a": {"value": 1}}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b"\xff", "bad_json"),
        (b"NaN", "bad_json"),
        (b"1e400", "bad_json"),
        (b"[" * 5000, "bad_json"),
        (b"12", "bad_payload"),
        (b"[]", "bad_payload"),
        (b'{"metrics":[]}', "bad_payload"),
        (b'{"metrics":{"a":1}}', "bad_payload"),
        (b'{"metrics":[1]}', "bad_metric"),
        (b'{"metrics":[{"name":"a"}]}', "bad_metric"),
        (b'{"metrics":[{"value":1}]}', "bad_metric"),
        (b'{"metrics":[{"name":"","value":1}]}', "bad_metric"),
        (b'{"metrics":[{"name":7,"value":1}]}', "bad_metric"),
        (b"{}", "bad_metric"),
        (b'{"name":"a"}', "bad_metric"),
        (b'{"name":"a","value":1,"timestamp":"noon"}', "bad_timestamp"),
        (b'{"name":"a","value":1,"timestamp":[]}', "bad_timestamp"),
        (b'{"metrics":[{"name":"a","value":1}],"timestamp":true}', "bad_timestamp"),
    ],
)
def test_bad_telemetry(payload: bytes, reason: str) -> None:
    assert reason_of("valtronics/1/telemetry", payload) == reason


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"", "bad_json"), (b"[1]", "bad_payload"), (b'{"unit":"V"}', "bad_metric")]
)
def test_bad_single_metric(payload: bytes, reason: str) -> None:
    assert reason_of("valtronics/devices/1/telemetry/voltage", payload) == reason


def test_a_metric_needs_a_name_in_the_topic() -> None:
    assert reason_of("valtronics/devices/1/telemetry/", b"1") == "bad_metric"


# --- status and heartbeat ---


def test_a_status() -> None:
    kind, messages = mapped(
        "valtronics/7/status",
        {"status": "offline", "reason": "Link lost", "timestamp": NOON, "metadata": {"last_seen": NOON}},
    )
    assert kind == "status"
    assert messages == [
        {
            "type": "device_status_update",
            "device_id": 7,
            "new_status": "offline",
            "reason": "Link lost",
            "timestamp": NOON,
            "metadata": {"last_seen": NOON},
        }
    ]


def test_further_keys_of_a_status_are_metadata() -> None:
    payload = {"status": "online", "reason": None, "fw": "1.2", "ip": "x", "metadata": {"ip": "10.0.0.7"}}
    assert one("valtronics/7/status", payload) == {
        "type": "device_status_update",
        "device_id": 7,
        "new_status": "online",
        "metadata": {"fw": "1.2", "ip": "10.0.0.7"},
    }


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"status":"the topic wins"}'])
def test_a_status_named_by_the_topic(payload: bytes) -> None:
    assert one("valtronics/devices/7/status/maintenance", payload) == {
        "type": "device_status_update",
        "device_id": 7,
        "new_status": "maintenance",
    }


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_json"),
        (b"online", "bad_json"),
        (b'"online"', "bad_payload"),
        (b"{}", "bad_status"),
        (b'{"status":""}', "bad_status"),
        (b'{"status":1}', "bad_status"),
        (b'{"status":"online","metadata":[]}', "bad_payload"),
        (b'{"status":"online","timestamp":{}}', "bad_timestamp"),
    ],
)
def test_bad_status(payload: bytes, reason: str) -> None:
    assert reason_of("valtronics/1/status", payload) == reason


def test_a_state_of_no_characters() -> None:
    assert reason_of("valtronics/devices/1/status/") == "bad_status"


@pytest.mark.parametrize("payload", [b"", b"1", b"not JSON \xff", b'{"status":"offline"}'])
def test_a_heartbeat_has_any_payload(payload: bytes) -> None:
    assert mapped("valtronics/7/heartbeat", payload) == (
        "heartbeat",
        [{"type": "device_status_update", "device_id": 7, "new_status": "online", "reason": "Heartbeat"}],
    )


# --- alerts ---


def test_an_alert() -> None:
    kind, messages = mapped(
        "valtronics/7/alert",
        {
            "type": "overheat",
            "severity": "critical",
            "message": "Too hot",
            "title": "Hot",
            "id": 12,
            "device_id": 8,
            "channel": 3,
            "timestamp": 1704110400,
            "zone": "b",
        },
    )
    assert kind == "alert"
    assert messages == [
        {
            "type": "alert",
            "alert_type": "overheat",
            "alert_id": 12,
            "device_id": 7,
            "severity": "critical",
            "title": "Hot",
            "message": "Too hot",
            "timestamp": "2024-01-01T12:00:00.000Z",
            "zone": "b",
        }
    ]


def test_an_alert_of_the_platform_has_no_device() -> None:
    payload = {"type": "disk_full", "severity": "info", "message": "m", "alert_id": "x-1"}
    assert one("valtronics/system/alerts/critical", payload) == {
        "type": "alert",
        "alert_type": "disk_full",
        "alert_id": "x-1",
        "severity": "critical",
        "message": "m",
    }
    assert one("valtronics/system/alerts/info") == {"type": "alert", "severity": "info"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_json"),
        (b"[]", "bad_payload"),
        (b"{}", "bad_severity"),
        (b'{"severity":3}', "bad_severity"),
        (b'{"severity":""}', "bad_severity"),
        (b'{"severity":"info","timestamp":-5}', "bad_timestamp"),
    ],
)
def test_bad_alert(payload: bytes, reason: str) -> None:
    assert reason_of("valtronics/7/alert", payload) == reason


# --- whatever comes ---

NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["metrics", "name", "value", "timestamp", "status", "reason", "metadata", "type", "severity", "id"]
)
OBJECTS = st.dictionaries(KEYS, st.one_of(JSON, st.lists(st.dictionaries(KEYS, JSON), max_size=3)))
PAYLOADS = st.one_of(st.binary(), st.one_of(JSON, OBJECTS).map(orjson.dumps))
LEVELS = st.one_of(
    st.sampled_from(["valtronics", "devices", "system", "telemetry", "status", "heartbeat", "alert", "7"]),
    st.text(max_size=70),
)
TOPICS = st.one_of(
    st.sampled_from(
        [
            "valtronics/7/telemetry",
            "valtronics/7/status",
            "valtronics/7/heartbeat",
            "valtronics/7/alert",
            "valtronics/devices/7/telemetry/rpm",
            "valtronics/devices/7/status/offline",
            "valtronics/system/alerts/info",
        ]
    ),
    st.lists(LEVELS, max_size=6).map("/".join),
)
TYPES = {
    "telemetry": "telemetry_update",
    "status": "device_status_update",
    "heartbeat": "device_status_update",
    "alert": "alert",
}


@given(TOPICS, PAYLOADS)
def test_every_message_is_mapped_or_refused_with_a_reason(topic: str, payload: bytes) -> None:
    kind, messages = outcome(topic, payload)
    assert kind in (KINDS if messages else REASONS)
    for message in messages:
        assert message["type"] == TYPES[kind]
        assert message.get("timestamp") is None or isinstance(message["timestamp"], str)
        if kind != "alert":
            assert isinstance(message["device_id"], int | str)
        if kind == "telemetry":
            telemetry = message["telemetry"]
            assert isinstance(telemetry, dict)
            assert telemetry
            for fields in telemetry.values():
                assert "value" in fields
                assert "name" not in fields
        orjson.dumps(message)
