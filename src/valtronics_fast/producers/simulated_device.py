"""One simulated device: what it measures, what goes wrong with it, what it says.

Six sensors follow the time of day, wander and carry noise. Now and then the device has a fault: it overheats,
shakes, stands in dust or wet, a sensor sticks, the battery dies, the link is lost, or someone maintains it.
Alerts follow from the values, with hysteresis, and the status follows from the alerts.

No clock and no generator of its own: the same generator and the same times give the same messages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from valtronics_fast.producers.status import UNKNOWN
from valtronics_fast.timestamps import iso_from_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Message = dict[str, object]

__all__ = ["OPENING", "RULES", "SENSORS", "Rule", "SimulatedDevice"]

DAY = 86_400.0
# Time constants in seconds: a value is drawn home from where it wandered, and is moved by a fault.
WANDER_TIME = 300.0
FAULT_TIME = 12.0
# A longer gap between two steps (a suspended machine) counts as this much.
MAX_STEP = 60.0
# Mean time between the end of a fault and the next one; with 50 devices something happens every 20 s.
FAULT_PAUSE = 1000.0
SPIKE_CHANCE = 0.002
# An alert changes its level after this many values in a row, so that a spike changes nothing.
CONFIRMATIONS = 3
# A device that was silent for this long has an alert.
SILENCE = 10.0
LOW_BATTERY = 22.0
BATTERY_FAULT_DRAIN = 0.25  # percent a second


class Sensor(NamedTuple):
    """A kind of sensor: `base` is where devices differ, `daily` how far the day's course goes either way."""

    name: str
    unit: str
    base: tuple[float, float]
    daily: float
    wander: float
    noise: float
    digits: int
    limits: tuple[float, float]


SENSORS = (
    Sensor("temperature", "°C", (18, 26), 2.5, 0.7, 0.06, 1, (-40, 125)),
    Sensor("humidity", "%", (35, 58), 5, 2, 0.2, 1, (0, 100)),
    Sensor("pressure", "hPa", (1002, 1022), 1.5, 1.2, 0.08, 1, (870, 1085)),
    Sensor("vibration", "mm/s", (0.8, 3.2), 0.1, 0.2, 0.08, 2, (0, 50)),
    Sensor("air_quality", "AQI", (18, 55), 8, 5, 0.8, 0, (0, 500)),
)
UNITS = {sensor.name: sensor.unit for sensor in SENSORS} | {"battery": "%"}


class Rule(NamedTuple):
    """Where an alert begins; it ends `margin` before. `critical` below `warning`: low values are bad."""

    metric: str
    alert_type: str
    title: str
    warning: float
    critical: float
    margin: float

    def level(self, value: float, before: int) -> int:
        """Return 0 (normal), 1 (warning) or 2 (critical); `before` is the level so far."""
        sign = 1 if self.critical > self.warning else -1
        if sign * (value - self.critical) + self.margin * (before == 2) > 0:
            return 2
        return 1 if sign * (value - self.warning) + self.margin * (before > 0) > 0 else 0


RULES = (
    Rule("temperature", "high_temperature", "High Temperature", 32, 37, 1.5),
    Rule("humidity", "high_humidity", "High Humidity", 75, 85, 3),
    Rule("vibration", "high_vibration", "High Vibration", 7.1, 9.5, 0.8),
    Rule("air_quality", "poor_air_quality", "Poor Air Quality", 100, 150, 8),
    Rule("battery", "low_battery", "Low Battery", 20, 10, 3),
)
SILENT = "device_offline"
SEVERITIES = ("info", "warning", "critical")

# Fault -> the metric that it moves, and how far at least and at most.
DISPLACEMENTS = {
    "overheat": ("temperature", 16.0, 22.0),
    "shake": ("vibration", 7.0, 10.0),
    "dust": ("air_quality", 80.0, 140.0),
    "wet": ("humidity", 32.0, 45.0),
}
# Fault -> seconds that it lasts at least and at most.
DURATIONS = {
    **dict.fromkeys(DISPLACEMENTS, (40.0, 90.0)),
    "stuck": (30.0, 120.0),
    "offline": (20.0, 60.0),
    "maintenance": (30.0, 90.0),
    "battery": (math.inf, math.inf),  # until it is empty, then offline, then replaced
}
# Fault -> how often it is the next one.
WEIGHTS = {
    "overheat": 3, "shake": 2, "dust": 2, "wet": 1, "stuck": 2, "offline": 4, "maintenance": 1, "battery": 1,
}  # fmt: skip
# Faults of the fleet soon after its start, so that who looks on sees some: (seconds, fault).
OPENING = ((5.0, "overheat"), (12.0, "offline"), (20.0, "dust"), (30.0, "battery"))


class SimulatedDevice:
    """A device and its state.

    Args:
        number: its id.
        random: where all chance comes from.
        opening: the faults that it has first, as (seconds from its first step, fault).
        next_alert_id: returns the id for an alert that is raised at a time.
    """

    def __init__(
        self,
        number: int,
        random: Random,
        opening: list[tuple[float, str]],
        next_alert_id: Callable[[float], int],
    ) -> None:
        self.number = number
        self.random = random
        self.next_alert_id = next_alert_id
        # The values: where they are at home, the phase of their day, how far they wandered and were moved.
        self.base = {sensor.name: random.uniform(*sensor.base) for sensor in SENSORS}
        self.phase = {sensor.name: random.uniform(-0.4, 0.4) for sensor in SENSORS}
        self.wander = {sensor.name: random.gauss(0, sensor.wander) for sensor in SENSORS}
        self.displacement = dict.fromkeys(self.base, 0.0)
        weak = any(fault == "battery" for _, fault in opening)
        self.battery = LOW_BATTERY if weak else random.uniform(40, 100)
        self.drain = random.uniform(0.3, 1.5) / 3600
        self.values: dict[str, float] = {}
        # The time: of the first step, of this one, of the last values.
        self.began: float | None = None
        self.now = 0.0
        self.last_seen = ""
        # The fault that it has, until when, and the metric that this one concerns; those that it will have.
        self.fault: str | None = None
        self.fault_since = self.fault_until = 0.0
        self.fault_metric: str | None = None
        self.fault_size = 0.0
        self.plan = opening
        # What was said: the status; alert type -> its level and id; how often another level was seen since.
        self.status = UNKNOWN
        self.alerts: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, int] = {}
        # What this step says.
        self.messages: list[Message] = []

    def step(self, now: float) -> list[Message]:
        """Return what the device says at a time (Unix seconds, not before the last call's)."""
        self.messages = []
        elapsed = 0.0
        if self.began is None:
            self.began = now
            self.now = now
            self.last_seen = iso_from_seconds(now)
            self.change_status("online", "Device started")
        else:
            elapsed = min(max(now - self.now, 0.0), MAX_STEP)
            self.now = now
        self.update_fault(now - self.began)
        self.drift(elapsed)
        if self.status in {"online", "warning"}:
            self.measure()
            for rule in RULES:
                self.check(rule)
            self.follow_alerts()
        elif self.status == "offline" and SILENT not in self.alerts and now - self.fault_since >= SILENCE:
            text = f"Device {self.number} has been silent since {self.last_seen}"
            self.alert(SILENT, 1, "Device Offline Alert", text, {"last_seen": self.last_seen})
        return self.messages

    # --- values ---

    def drift(self, elapsed: float) -> None:
        """Let time pass: for the walk of the values, the pull of a fault, and the battery."""
        keep = math.exp(-elapsed / WANDER_TIME)
        pull = 1 - math.exp(-elapsed / FAULT_TIME)
        for sensor in SENSORS:
            name = sensor.name
            spread = sensor.wander * math.sqrt(1 - keep * keep)
            self.wander[name] = self.wander[name] * keep + self.random.gauss(0, spread)
            target = self.fault_size if self.fault_metric == name else 0.0
            self.displacement[name] += (target - self.displacement[name]) * pull
        drain = BATTERY_FAULT_DRAIN if self.fault == "battery" else self.drain
        self.battery = max(0.0, self.battery - drain * elapsed)

    def measure(self) -> None:
        """Read the sensors and say what they show."""
        for sensor in SENSORS:
            name = sensor.name
            course = sensor.daily * math.sin(2 * math.pi * self.now / DAY + self.phase[name])
            value = self.base[name] + course + self.wander[name] + self.displacement[name]
            value += self.random.gauss(0, sensor.noise)
            if self.random.random() < SPIKE_CHANCE:
                value += self.random.choice((-1, 1)) * (sensor.base[1] - sensor.base[0])
            if self.fault == "stuck" and self.fault_metric == name and name in self.values:
                continue
            value = round(min(max(value, sensor.limits[0]), sensor.limits[1]), sensor.digits)
            self.values[name] = value if sensor.digits else int(value)
        self.values["battery"] = round(self.battery, 1)
        self.last_seen = iso_from_seconds(self.now)
        telemetry = {
            name: {"value": value, "unit": UNITS[name], "timestamp": self.last_seen}
            for name, value in self.values.items()
        }
        self.messages.append({"type": "telemetry_update", "device_id": self.number, "telemetry": telemetry})

    # --- faults ---

    def update_fault(self, age: float) -> None:
        """End the present fault when it is over, or begin the next when it is time.

        Args:
            age: seconds since the first step.
        """
        if self.battery == 0 and self.fault not in {"offline", "maintenance"}:
            self.begin_fault("offline")
        elif self.fault is None:
            if not self.plan:
                pause = self.random.expovariate(1 / FAULT_PAUSE)
                (fault,) = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
                self.plan.append((age + pause, fault))
            if age >= self.plan[0][0]:
                self.begin_fault(self.plan.pop(0)[1])
        elif self.now >= self.fault_until:
            self.end_fault()

    def begin_fault(self, fault: str) -> None:
        """Let a fault begin, in place of the present one if there is one."""
        self.fault, self.fault_metric, self.fault_size = fault, None, 0.0
        self.fault_since = self.now
        self.fault_until = self.now + self.random.uniform(*DURATIONS[fault])
        if fault in DISPLACEMENTS:
            self.fault_metric, least, most = DISPLACEMENTS[fault]
            self.fault_size = self.random.uniform(least, most)
        elif fault == "stuck":
            self.fault_metric = self.random.choice(SENSORS).name
        elif fault == "offline":
            reason = "Battery exhausted" if self.battery == 0 else "Connection lost"
            self.change_status("offline", reason, last_seen=self.last_seen)
        elif fault == "maintenance":
            reason = "Battery is being replaced" if self.battery == 0 else "Scheduled maintenance"
            self.change_status("maintenance", reason)

    def end_fault(self) -> None:
        """Let the present fault end; an empty battery is replaced before the device is back."""
        fault = self.fault
        if fault == "offline" and self.battery == 0:
            self.begin_fault("maintenance")
            return
        self.fault = self.fault_metric = None
        if fault == "offline":
            self.change_status("online", "Connection restored")
        elif fault == "maintenance":
            self.battery = self.battery or 100.0
            self.change_status("online", "Maintenance finished")
        if SILENT in self.alerts:
            metadata: Message = {"resolved_alert_id": self.alerts[SILENT][1]}
            self.alert(SILENT, 0, "Device Offline Resolved", f"Device {self.number} sends again", metadata)

    # --- what is said about it ---

    def change_status(self, status: str, reason: str, **metadata: object) -> None:
        """Change the status and say so."""
        self.messages.append(
            {
                "type": "device_status_update",
                "device_id": self.number,
                "old_status": self.status,
                "new_status": status,
                "timestamp": iso_from_seconds(self.now),
                "reason": reason,
                "metadata": metadata,
            }
        )
        self.status = status

    def follow_alerts(self) -> None:
        """Let the status follow the alerts."""
        if self.alerts and self.status == "online":
            titles = [rule.title for rule in RULES if rule.alert_type in self.alerts]
            self.change_status("warning", ", ".join(titles))
        elif not self.alerts and self.status == "warning":
            self.change_status("online", "Values are normal again")

    def check(self, rule: Rule) -> None:
        """Raise, escalate, ease or resolve the alert of a rule once enough values say so."""
        value = self.values[rule.metric]
        before, alert_id = self.alerts.get(rule.alert_type, (0, 0))
        level = rule.level(value, before)
        if level == before:
            self.seen.pop(rule.alert_type, None)
            return
        self.seen[rule.alert_type] = self.seen.get(rule.alert_type, 0) + 1
        if self.seen[rule.alert_type] < CONFIRMATIONS:
            return
        threshold = rule.critical if level and 2 in {level, before} else rule.warning
        side = "above" if value > threshold else "below"
        metric, unit = rule.metric.replace("_", " ").capitalize(), UNITS[rule.metric]
        metadata: Message = {
            "metric": rule.metric,
            "threshold_value": threshold,
            "actual_value": value,
            "unit": unit,
        }
        if before:
            metadata["previous_alert_id" if level else "resolved_alert_id"] = alert_id
        title = f"{rule.title} {'Alert' if level else 'Resolved'}"
        text = f"{metric} of device {self.number} is {value} {unit}, {side} {threshold} {unit}"
        self.alert(rule.alert_type, level, title, text, metadata)

    def alert(self, alert_type: str, level: int, title: str, text: str, metadata: Message) -> None:
        """Say an alert, or its end (level 0), and note its level."""
        alert_id = self.next_alert_id(self.now)
        self.seen.pop(alert_type, None)
        if level:
            self.alerts[alert_type] = level, alert_id
        else:
            del self.alerts[alert_type]
        self.messages.append(
            {
                "type": "alert",
                "alert_id": alert_id,
                "device_id": self.number,
                "severity": SEVERITIES[level],
                "title": title,
                "message": text,
                "timestamp": iso_from_seconds(self.now),
                "metadata": metadata,
                "alert_type": alert_type,
            }
        )
