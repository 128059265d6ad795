from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from valtronics_fast.producers.simulated_device import OPENING, RULES, SENSORS, SimulatedDevice

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
METRICS = {"temperature", "humidity", "pressure", "vibration", "battery", "air_quality"}
TEMPERATURE, *_, BATTERY = RULES


def device(*opening: tuple[float, str], seed: int = 1) -> SimulatedDevice:
    ids = itertools.count(1)
    return SimulatedDevice(7, random.Random(seed), list(opening), lambda _: next(ids))


def run(simulated: SimulatedDevice, seconds: int, begin: int = 0) -> list[tuple[int, dict[str, Any]]]:
    """Step once a second; returns (second, message)."""
    return [
        (second, message)
        for second in range(begin, begin + seconds)
        for message in simulated.step(NOON + second)
    ]


def of_type(messages: list[tuple[int, dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    return [message for _, message in messages if message["type"] == kind]


@pytest.fixture(autouse=True)
def _no_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance brings nothing but what a test asks for."""
    monkeypatch.setattr("valtronics_fast.producers.simulated_device.SPIKE_CHANCE", 0.0)
    monkeypatch.setattr("valtronics_fast.producers.simulated_device.FAULT_PAUSE", 1e12)


def test_the_first_step_says_that_it_is_online() -> None:
    status, telemetry = device().step(NOON)
    assert status == {
        "type": "device_status_update",
        "device_id": 7,
        "old_status": "unknown",
        "new_status": "online",
        "timestamp": "2026-01-01T12:00:00.000Z",
        "reason": "Device started",
        "metadata": {},
    }
    assert telemetry["type"] == "telemetry_update"


def test_telemetry_has_six_metrics_with_units() -> None:
    messages = of_type(run(device(), 100), "telemetry_update")
    assert len(messages) == 100
    for second, message in enumerate(messages):
        assert message.keys() == {"type", "device_id", "telemetry"}
        assert message["telemetry"].keys() == METRICS
        for fields in message["telemetry"].values():
            assert fields.keys() == {"value", "unit", "timestamp"}
            assert fields["timestamp"] == f"2026-01-01T12:{second // 60:02}:{second % 60:02}.000Z"
    units = {name: fields["unit"] for name, fields in messages[0]["telemetry"].items()}
    assert units == {
        "temperature": "°C",
        "humidity": "%",
        "pressure": "hPa",
        "vibration": "mm/s",
        "air_quality": "AQI",
        "battery": "%",
    }


def test_a_day_without_faults_has_a_course_and_no_alert() -> None:
    for seed in range(10):
        simulated = device(seed=seed)
        simulated.battery = 100.0
        temperatures: list[float] = []
        for minute in range(24 * 60):
            for message in simulated.step(NOON + 60 * minute):
                assert message["type"] != "alert"
                if message["type"] == "telemetry_update":
                    temperatures.append(simulated.values["temperature"])
        assert max(temperatures) - min(temperatures) > 4  # the daily course
        assert len(set(temperatures)) > 20
        assert simulated.status == "online"


@pytest.mark.parametrize(
    ("fault", "metric", "alert_type", "title"),
    [
        ("overheat", "temperature", "high_temperature", "High Temperature"),
        ("shake", "vibration", "high_vibration", "High Vibration"),
        ("dust", "air_quality", "poor_air_quality", "Poor Air Quality"),
        ("wet", "humidity", "high_humidity", "High Humidity"),
    ],
)
def test_faults_raise_alerts_that_are_resolved(fault: str, metric: str, alert_type: str, title: str) -> None:
    raised = 0
    for seed in range(20):
        messages = run(device((5.0, fault), seed=seed), 300)
        alerts = of_type(messages, "alert")
        if not alerts:  # a device whose values are usually low need not reach the threshold
            continue
        raised += 1
        assert {alert["alert_type"] for alert in alerts} == {alert_type}
        assert alerts[0]["severity"] in {"warning", "critical"}
        assert alerts[0]["title"] == f"{title} Alert"
        metadata = alerts[0]["metadata"]
        assert metadata["metric"] == metric
        assert metadata["actual_value"] > metadata["threshold_value"]
        assert str(metadata["actual_value"]) in alerts[0]["message"]
        for before, after in itertools.pairwise(alerts):
            key = "resolved_alert_id" if after["severity"] == "info" else "previous_alert_id"
            assert after["metadata"][key] == before["alert_id"]
        assert alerts[-1]["severity"] == "info"
        assert alerts[-1]["title"] == f"{title} Resolved"
        assert [status["new_status"] for status in of_type(messages, "device_status_update")] == [
            "online",
            "warning",
            "online",
        ]
    assert raised >= 10


def test_a_lost_link_is_silence_then_an_alert_then_telemetry_again() -> None:
    messages = run(device((5.0, "offline")), 100)
    statuses = of_type(messages, "device_status_update")[1:]
    assert [(s["old_status"], s["new_status"], s["reason"]) for s in statuses] == [
        ("online", "offline", "Connection lost"),
        ("offline", "online", "Connection restored"),
    ]
    assert statuses[0]["metadata"] == {"last_seen": "2026-01-01T12:00:04.000Z"}
    lost, back = (second for second, message in messages if message in statuses)
    assert lost == 5
    assert not [second for second, m in messages if m["type"] == "telemetry_update" and lost <= second < back]
    assert [second for second, m in messages if m["type"] == "telemetry_update" and second >= back]
    raised, resolved = of_type(messages, "alert")
    assert raised["alert_type"] == resolved["alert_type"] == "device_offline"
    assert resolved["severity"] == "info"
    assert resolved["metadata"] == {"resolved_alert_id": raised["alert_id"]}


def test_a_battery_runs_out_and_is_replaced() -> None:
    messages = run(device((5.0, "battery")), 400)
    statuses = [(s["new_status"], s["reason"]) for s in of_type(messages, "device_status_update")]
    assert statuses == [
        ("online", "Device started"),
        ("warning", "Low Battery"),
        ("offline", "Battery exhausted"),
        ("maintenance", "Battery is being replaced"),
        ("online", "Maintenance finished"),
        ("warning", "Low Battery"),
        ("online", "Values are normal again"),
    ]
    alerts = [(a["alert_type"], a["severity"]) for a in of_type(messages, "alert")]
    assert alerts == [
        ("low_battery", "warning"),
        ("low_battery", "critical"),
        ("device_offline", "warning"),
        ("device_offline", "info"),
        ("low_battery", "info"),
    ]
    levels = [m["telemetry"]["battery"]["value"] for m in of_type(messages, "telemetry_update")]
    assert min(levels) < 1
    assert levels[-1] > 99


def test_an_old_battery_runs_out_too() -> None:
    simulated = device()
    simulated.battery = 0.0001
    assert of_type(run(simulated, 3), "device_status_update")[-1]["reason"] == "Battery exhausted"


def test_maintenance_is_silent_and_raises_no_alert() -> None:
    messages = run(device((5.0, "maintenance")), 120)
    statuses = [s["new_status"] for s in of_type(messages, "device_status_update")]
    assert statuses == ["online", "maintenance", "online"]
    assert not of_type(messages, "alert")
    assert len(of_type(messages, "telemetry_update")) < 95


def test_a_stuck_sensor_repeats_its_value() -> None:
    messages = of_type(run(device((5.0, "stuck")), 35), "telemetry_update")
    stuck = [
        name for name in METRICS if len({m["telemetry"][name]["value"] for m in messages[5:35]}) == 1
    ]
    moving = {name for name in METRICS if len({m["telemetry"][name]["value"] for m in messages[:35]}) > 1}
    assert len(set(stuck) - {"battery"}) == 1
    assert moving >= METRICS - {"battery"} - set(stuck)


def test_spikes_are_single_values_and_raise_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valtronics_fast.producers.simulated_device.SPIKE_CHANCE", 0.01)
    messages = run(device(), 3000)
    values = [m["telemetry"]["temperature"]["value"] for m in of_type(messages, "telemetry_update")]
    jumps = sum(abs(after - before) > 4 for before, after in itertools.pairwise(values))
    assert jumps > 20
    assert not of_type(messages, "alert")


@pytest.mark.parametrize(
    ("value", "before", "level"),
    [
        (32, 0, 0),
        (32.1, 0, 1),
        (37, 0, 1),
        (37.1, 0, 2),
        (30.6, 1, 1),
        (30.5, 1, 0),
        (37.1, 1, 2),
        (35.6, 2, 2),
        (35.5, 2, 1),
        (30.5, 2, 0),
    ],
)
def test_levels_of_values_that_are_bad_when_high(value: float, before: int, level: int) -> None:
    assert TEMPERATURE.level(value, before) == level


@pytest.mark.parametrize(
    ("value", "before", "level"),
    [(20, 0, 0), (19.9, 0, 1), (9.9, 0, 2), (22.9, 1, 1), (23, 1, 0), (12.9, 2, 2), (13, 2, 1), (23, 2, 0)],
)
def test_levels_of_values_that_are_bad_when_low(value: float, before: int, level: int) -> None:
    assert BATTERY.level(value, before) == level


def test_time_may_stand_still_or_leap() -> None:
    simulated = device((5.0, "battery"))
    simulated.step(NOON)
    battery = simulated.battery
    for now in (NOON, NOON - 3600, NOON - 3600):
        simulated.step(now)
    assert simulated.battery == battery
    simulated.step(NOON + 10)
    battery = simulated.battery
    simulated.step(NOON + 1_000_000)  # counts as a minute
    assert 0 < battery - simulated.battery < 16


def test_values_stay_within_what_a_sensor_can_show() -> None:
    limits = {sensor.name: sensor.limits for sensor in SENSORS} | {"battery": (0, 100)}
    for number, (fault, _) in enumerate(itertools.product(("overheat", "shake", "dust", "wet"), range(3))):
        for message in of_type(run(device((1.0, fault), (2.0, fault), seed=number), 300), "telemetry_update"):
            for name, fields in message["telemetry"].items():
                assert limits[name][0] <= fields["value"] <= limits[name][1]


def test_the_opening_is_within_the_first_minute() -> None:
    assert all(0 < seconds < 45 for seconds, _ in OPENING)
