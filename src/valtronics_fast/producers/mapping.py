"""From MQTT topics and payloads to data messages; pure functions, no I/O, no clock.

A rule is one text, `PATTERN => KIND` (docs/mqtt.md). The patterns become one tree, a node for each level:

    valtronics ─┬─ devices ── {device} ─┬─ telemetry ── {metric}   => telemetry
                │                       └─ status ───── {state}    => status
                ├─ system ─── alerts ── {severity}                 => alert
                └─ {device} ─┬─ telemetry                          => telemetry
                             ├─ status                             => status
                             ├─ heartbeat                          => heartbeat
                             └─ alert                              => alert

A topic walks down it without ever turning back: at each node a literal level wins over a placeholder. So a
word that stands literally in one pattern is reserved at that place: `valtronics/system/alert` is nobody's
alert, rather than that of a device named "system". A pattern's trailing `#` takes what no other pattern took.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast, get_args

from orjson import JSONDecodeError, loads

from valtronics_fast._core.scope import device_key
from valtronics_fast.timestamps import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Device = int | str
    Message = dict[str, object]
    # (device, what the kind's other placeholder held, payload); None: the pattern lacks that placeholder.
    Handler = Callable[[Device | None, str | None, bytes], list[Message]]
    Route = tuple["Kind", Handler, Device | None, str | None]

__all__ = ["DEFAULT_TOPICS", "KINDS", "REASONS", "Kind", "MappingError", "TopicMap", "compile_topics"]

DEFAULT_TOPICS: tuple[str, ...] = (
    "valtronics/{device}/telemetry => telemetry",
    "valtronics/{device}/status => status",
    "valtronics/{device}/heartbeat => heartbeat",
    "valtronics/{device}/alert => alert",
    "valtronics/devices/{device}/telemetry/{metric} => telemetry",
    "valtronics/devices/{device}/status/{state} => status",
    "valtronics/system/alerts/{severity} => alert",
)
"""The two topic families of the platform."""

Kind = Literal["telemetry", "status", "heartbeat", "alert"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Reason = Literal[
    "unmapped_topic",  # no pattern takes it
    "bad_device",  # the level in the device's place is no device id
    "bad_json",  # the payload is not JSON
    "bad_payload",  # it is JSON of another shape
    "bad_metric",  # a metric without a name or without a value
    "bad_status",  # no status, or one that is no text
    "bad_severity",  # an alert without a severity
    "bad_timestamp",  # neither ISO 8601 nor a Unix time
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class MappingError(ValueError):
    """A message can't be mapped.

    Attributes:
        reason: why, one of REASONS.
    """

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(reason)


# Topics that a TopicMap remembers, and characters of the longest of them: 8 MB at the most, 3 MB with usual ones.
MAX_ROUTES = 16_384
MAX_KEPT_TOPIC = 256

# --- payloads ---------------------------------------------------------------------------------------------


def decode(payload: bytes) -> object:
    """Return the JSON value in a payload."""
    try:
        return loads(payload)
    except JSONDecodeError:
        raise MappingError("bad_json") from None


def decode_object(payload: bytes) -> Message:
    """Return the JSON object in a payload."""
    fields = decode(payload)
    if type(fields) is not dict:
        raise MappingError("bad_payload")
    return fields


def settle_timestamp(fields: Message, default: str | None = None) -> None:
    """Make `timestamp` ISO 8601, or the default; without both the key is absent, and publishing fills it."""
    timestamp = fields.get("timestamp")
    if timestamp is not None:
        try:
            fields["timestamp"] = to_iso(timestamp)
        except ValueError:
            raise MappingError("bad_timestamp") from None
    elif default is not None:
        fields["timestamp"] = default
    else:
        fields.pop("timestamp", None)


def read_metrics(payload: bytes) -> tuple[list[Message], str | None]:
    """Return the metrics in a payload (one, or a list of them) and the timestamp of the whole list."""
    fields = decode_object(payload)
    metrics = fields.get("metrics")
    if metrics is None:
        return [fields], None
    if type(metrics) is not list or not metrics:
        raise MappingError("bad_payload")
    settle_timestamp(fields)
    return metrics, cast("str | None", fields.get("timestamp"))


def read_value(payload: bytes) -> Message:
    """Return the one metric in a payload that need not name it: an object, or a bare JSON scalar."""
    value = decode(payload)
    if type(value) is list:
        raise MappingError("bad_payload")
    return value if type(value) is dict else {"value": value}


def map_value(device: Device | None, metric: str, payload: bytes) -> Message:
    """Map the one metric that a topic names."""
    fields = read_value(payload)
    fields.pop("name", None)
    if not metric or "value" not in fields:
        raise MappingError("bad_metric")
    settle_timestamp(fields)
    return {"type": "telemetry_update", "device_id": device, "telemetry": {metric: fields}}


def map_telemetry(device: Device | None, metric: str | None, payload: bytes) -> list[Message]:
    """Map one metric (named by the topic or by itself) or a list of them.

    A metric that comes twice in a list is a series: every further value of it begins one more message.
    """
    if metric is not None:
        return [map_value(device, metric, payload)]
    metrics, default = read_metrics(payload)
    telemetry: Message = {}
    messages: list[Message] = [{"type": "telemetry_update", "device_id": device, "telemetry": telemetry}]
    for fields in metrics:
        if type(fields) is not dict:
            raise MappingError("bad_metric")
        name = fields.pop("name", None)
        if type(name) is not str or not name or "value" not in fields:
            raise MappingError("bad_metric")
        settle_timestamp(fields, default)
        if name in telemetry:
            telemetry = {}
            messages.append({"type": "telemetry_update", "device_id": device, "telemetry": telemetry})
        telemetry[name] = fields
    return messages


def map_status(device: Device | None, state: str | None, payload: bytes) -> list[Message]:
    """Map a status, named by the topic or by the payload; keys that no status has go into its metadata."""
    fields = {} if state is not None and not payload else decode_object(payload)
    status = fields.pop("status", None)
    if state is not None:
        status = state
    if type(status) is not str or not status:
        raise MappingError("bad_status")
    message: Message = {"type": "device_status_update", "device_id": device, "new_status": status}
    settle_timestamp(fields)
    for key in ("timestamp", "reason"):
        if fields.get(key) is not None:
            message[key] = fields[key]
        fields.pop(key, None)
    metadata = fields.pop("metadata", None)
    if metadata is not None and type(metadata) is not dict:
        raise MappingError("bad_payload")
    fields.update(metadata or {})
    if fields:
        message["metadata"] = fields
    return [message]


def map_heartbeat(device: Device | None, _: str | None, __: bytes) -> list[Message]:
    """Map a heartbeat: what it says is that it came, whatever its payload."""
    return [
        {"type": "device_status_update", "device_id": device, "new_status": "online", "reason": "Heartbeat"}
    ]


def map_alert(device: Device | None, severity: str | None, payload: bytes) -> list[Message]:
    """Map an alert; what the topic says wins over the payload, so that a broker's topic permissions hold."""
    message = {} if severity is not None and not payload else decode_object(payload)
    message.pop("channel", None)  # the wire's own word, set at publishing
    for name, wire_name in (("type", "alert_type"), ("id", "alert_id")):
        value = message.pop(name, None)
        if value is not None:
            message[wire_name] = value
    if severity is not None:
        message["severity"] = severity
    if type(message.get("severity")) is not str or not message["severity"]:
        raise MappingError("bad_severity")
    if device is not None:
        message["device_id"] = device
    settle_timestamp(message)
    message["type"] = "alert"
    return [message]


# Kind -> what reads its payload, and the placeholder other than {device} that its pattern may have.
HANDLERS: dict[Kind, tuple[Handler, str | None]] = {
    "telemetry": (map_telemetry, "metric"),
    "status": (map_status, "state"),
    "heartbeat": (map_heartbeat, None),
    "alert": (map_alert, "severity"),
}


# --- topics -----------------------------------------------------------------------------------------------


class Rule:
    """One pattern's end: the kind, its handler, and the levels of the placeholders (None: absent)."""

    __slots__ = ("detail_at", "device_at", "handler", "kind", "text")

    def __init__(self, text: str, kind: Kind, levels: Sequence[str]) -> None:
        self.text = text
        self.kind = kind
        self.handler, detail = HANDLERS[kind]
        places = {level: at for at, level in enumerate(levels) if level.startswith("{")}
        if len(places) != sum(level.startswith("{") for level in levels):
            raise ValueError(f'"{text}": a placeholder stands twice')
        self.device_at = places.pop("{device}", None)
        self.detail_at = places.pop(f"{{{detail}}}", None)
        if places:
            allowed = "{device}" if detail is None else f"{{device}} and {{{detail}}}"
            raise ValueError(f'"{text}": {", ".join(places)}: the placeholders of {kind} are {allowed}')
        if self.device_at is None and kind != "alert":
            raise ValueError(f'"{text}": {kind} needs {{device}}')


class Node:
    """A level of the tree; `rule` ends here, `rest` is the rule of a `#` in the next level's place."""

    __slots__ = ("any", "literals", "rest", "rule")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.any: Node | None = None
        self.rest: Rule | None = None
        self.rule: Rule | None = None


class TopicMap:
    """Compiled rules.

    Attributes:
        filters: the MQTT topic filters to subscribe to; none of them lies within another, since a broker may
            deliver a message once for every filter that it matches.
    """

    __slots__ = ("_root", "_routes", "filters")

    def __init__(self, root: Node, filters: tuple[str, ...]) -> None:
        self._root = root
        self._routes: dict[str, Route] = {}  # of topics that came lately
        self.filters = filters

    def map(self, topic: str, payload: bytes) -> tuple[Kind, list[Message]]:
        """Return a message's kind and the data messages in it, at least one.

        A status message has no `old_status` yet: who keeps a StatusTable adds it. What a producer left out
        (timestamps, units, an alert's id, title and message) is filled at publishing.

        Raises:
            MappingError: nothing can be made of it.
        """
        kind, handler, device, detail = self._routes.get(topic) or self._find_route(topic)
        return kind, handler(device, detail, payload)

    def _find_route(self, topic: str) -> Route:
        """Walk down the tree, and remember where it led to."""
        levels = topic.split("/")
        node = self._root
        rest = node.rest
        for level in levels:
            child = node.literals.get(level) or node.any
            if child is None:
                rule = rest
                break
            node = child
            rest = node.rest or rest
        else:
            rule = node.rule or rest
        if rule is None:
            raise MappingError("unmapped_topic")
        device: Device | None = None
        if rule.device_at is not None:
            try:
                device = device_key(levels[rule.device_at])
            except ValueError:
                raise MappingError("bad_device") from None
        detail = None if rule.detail_at is None else levels[rule.detail_at]
        route = rule.kind, rule.handler, device, detail
        if len(topic) <= MAX_KEPT_TOPIC:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            self._routes[topic] = route
        return route


def split_rule(text: str) -> tuple[list[str], Kind]:
    """Return the levels and the kind of a rule; ValueError when it is not one."""
    pattern, _, kind = (part.strip() for part in text.rpartition("=>"))
    if not pattern:
        raise ValueError(f'"{text}": a rule is "PATTERN => KIND"')
    if kind not in KINDS:
        raise ValueError(f'"{text}": the kind is one of {", ".join(KINDS)}')
    levels = pattern.split("/")
    for at, level in enumerate(levels):
        if level == "#" and at == len(levels) - 1:
            continue
        if level != "+" and not re.fullmatch(r"\{[a-z]+\}|[^+#{}\x00]*", level):
            raise ValueError(f'"{text}": a level is a word, one placeholder, "+", or "#" at the end')
    return levels, kind


def covers(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Say whether every topic that one filter matches is matched by another (MQTT 5, section 4.7)."""
    if narrow[0].startswith("$") and wide[0] in {"+", "#"}:
        return False
    for at, level in enumerate(wide):
        if level == "#":
            return True
        if at >= len(narrow) or narrow[at] == "#" or level not in {"+", narrow[at]}:
            return False
    return len(wide) == len(narrow)


def compile_topics(rules: Iterable[str]) -> TopicMap:
    """Compile rules such as DEFAULT_TOPICS.

    Raises:
        ValueError: a rule is not well-formed, or says the same topics as another; the text names it.
    """
    root = Node()
    filters: list[tuple[str, ...]] = []
    for text in rules:
        levels, kind = split_rule(text)
        rule = Rule(text, kind, levels)
        node = root
        for level in levels:
            if level == "#":
                break
            if level == "+" or level.startswith("{"):
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.literals.setdefault(level, Node())
        end = "rest" if levels[-1] == "#" else "rule"
        other: Rule | None = getattr(node, end)
        if other is not None:
            raise ValueError(f'"{text}": takes the same topics as "{other.text}"')
        setattr(node, end, rule)
        filters.append(tuple("+" if level.startswith("{") else level for level in levels))
    if not filters:
        raise ValueError("at least one rule is needed")
    apart = [f for f in filters if not any(covers(other, f) for other in filters if other != f)]
    return TopicMap(root, tuple("/".join(levels) for levels in apart))
