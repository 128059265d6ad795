"""JSON Schemas (draft 2020-12) of the wire: what clients send, what the server sends, and what may be published.

Names come from `_core.wire`; forms follow docs/protocol.md, and tests hold them against a server. Lengths are
characters, where the server counts bytes; limits that the operator can change are those of the defaults.
"""

from __future__ import annotations

from typing import Any, Final

from valtronics_fast._core.wire import CHANNELS, COMMANDS, ERROR_NAMES, MESSAGE_TYPES, Channel, ErrorCode

__all__ = ["PARTS", "schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

PARTS: Final = {
    "commands": ("command", "What a client sends."),
    "messages": ("message", "What the server sends."),
    "publications": ("publication", "What may be published: over HTTP, with the command `publish`, from Python."),
}
"""By the name of a part: its definition, and what it describes."""

_Schema = dict[str, Any]

_WORDS = {name for code, name in ERROR_NAMES.items() if code != ErrorCode.NO_ERROR}
_HAS_FREQUENCY = (Channel.TELEMETRY, Channel.SYSTEM)
# Beside `device_id` and `frequency`: what each channel filters by (protocol.md, section 3).
_FILTERS: Final[dict[int, tuple[str, ...]]] = {
    Channel.TELEMETRY: ("metrics",),
    Channel.ALERTS: ("severity", "alert_type"),
    Channel.DEVICES: ("status_types",),
    Channel.SYSTEM: ("metrics",),
}
_MAX_BATCH = 50
_MAX_OFFSET = (1 << 53) - 1
_MAX_INTEGER = (1 << 63) - 1


def schema(part: str | None = None) -> _Schema:
    """Return the schema of a part, one of PARTS; of all three together when None."""
    if part is None:
        title = "Everything that the WebSocket API carries"
        root: _Schema = {"anyOf": [_ref(name) for name, _ in PARTS.values()]}
    else:
        name, title = PARTS[part]
        root = _ref(name)
    return {"$schema": _DRAFT, "title": title, **root, "$defs": _definitions()}


def _definitions() -> _Schema:
    """Return every definition, by its name."""
    return {
        **_words(),
        **{f"{name}_filters": _filters_of(channel) for name, channel in CHANNELS.items()},
        **{f"{name}_command": form for name, form in _commands().items()},
        "command": {"oneOf": [_ref(f"{name}_command") for name in COMMANDS]},
        **{f"{MESSAGE_TYPES[channel]}_publication": form for channel, form in _publications().items()},
        "publication": {"oneOf": [_ref(f"{kind}_publication") for kind in MESSAGE_TYPES.values()]},
        **{f"{MESSAGE_TYPES[channel]}_message": form for channel, form in _data_messages().items()},
        "data_message": {"oneOf": [_ref(f"{kind}_message") for kind in MESSAGE_TYPES.values()]},
        **{f"{name}_message": form for name, form in _answers().items()},
        "message": {"oneOf": [_ref("data_message"), *(_ref(f"{name}_message") for name in _answers())]},
    }


def _words() -> _Schema:
    """Return what the messages are made of."""
    integer = {"type": "integer", "minimum": -_MAX_INTEGER - 1, "maximum": _MAX_INTEGER}
    interval = {"type": "string", "pattern": "^(real-time|[1-9][0-9]{0,8}(ms|s|m|h))$"}
    deadband = {
        "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+([.][0-9]+)?%$"}],
    }
    moved = _object({"every": interval, "deadband": deadband}, required=["every"], more=False)
    return {
        "id": {"anyOf": [{"type": "string", "maxLength": 64}, integer]},
        "channel": {"enum": list(CHANNELS)},
        "error": {"enum": sorted(_WORDS)},
        "device_id": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 64}, integer]},
        "device_ids": _one_or_several(_ref("device_id")),
        "name": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^\\u0000]*$"},
        "names": _one_or_several(_ref("name")),
        "frequency": {"anyOf": [interval, moved]},
        "offset": {"type": "integer", "minimum": 0, "maximum": _MAX_OFFSET},
        "position": _object({"epoch": {"type": "string"}, "offset": _ref("offset")}, required=["epoch", "offset"]),
        "time": {"type": "string", "description": "ISO 8601, UTC"},
    }


# --- what clients send


def _filters_of(channel: int) -> _Schema:
    """Return the filters of a channel; null is as good as absent."""
    filters = {} if channel == Channel.SYSTEM else {"device_id": _ref("device_ids")}
    filters |= {name: _ref("names") for name in _FILTERS[channel]}
    if channel in _HAS_FREQUENCY:
        filters["frequency"] = _ref("frequency")
    return _object({name: _or_null(form) for name, form in filters.items()}, more=False)


def _commands() -> _Schema:
    """Return the form of each command."""
    flag = _or_null({"type": "boolean"})
    wish = {"type": "boolean"}
    recovery = {"snapshot": flag, "recover": flag, "since": _or_null(_ref("position"))}
    forms = {
        "auth": (
            {"token": {"type": "string"}, "renew": wish, "notices": wish, "batch": wish},
            ["token"],
        ),
        "subscribe": ({"channel": _ref("channel"), **recovery}, []),
        "unsubscribe": ({"channel": _ref("channel"), "device_id": _or_null(_ref("device_ids"))}, []),
        "ping": ({}, []),
        "batch": ({"messages": {"type": "array", "maxItems": _MAX_BATCH, "items": _in_batch()}}, ["messages"]),
        "publish": ({"message": _ref("publication")}, ["message"]),
        "error_report": ({}, []),
    }
    found: _Schema = {}
    for name in COMMANDS:
        properties, required = forms[name]
        found[name] = _object({"type": {"const": name}, "id": _ref("id"), **properties}, required=["type", *required])
    found["subscribe"]["allOf"] = [_subscription(name, channel) for name, channel in CHANNELS.items()]
    found["subscribe"]["description"] = "`channel` may be left out at an endpoint of one channel."
    return found


def _subscription(name: str, channel: int) -> _Schema:
    """Return what a channel's subscription is bound to: its filters, at the top level and inside `filters`."""
    at_top = dict(_filters_of(channel)["properties"])
    if channel not in _HAS_FREQUENCY:
        at_top["frequency"] = {"type": "null"}
    return {
        "if": {"properties": {"channel": {"const": name}}, "required": ["channel"]},
        "then": {"properties": {**at_top, "filters": _or_null(_ref(f"{name}_filters"))}},
    }


def _in_batch() -> _Schema:
    """Return the commands that a batch may hold: all but another one."""
    return {"oneOf": [_ref(f"{name}_command") for name in COMMANDS if name != "batch"]}


# --- what may be published


def _publications() -> dict[int, _Schema]:
    """Return the form of each data message as its publisher writes it."""
    metric = {
        "anyOf": [
            _object({"value": {}, "unit": {}, "timestamp": {}}, required=["value"]),
            {"type": ["string", "number", "boolean", "null"]},
        ]
    }
    metrics = {"type": "object", "minProperties": 1, "propertyNames": _ref("name")}
    named = {"severity": _ref("name"), "alert_type": _or_null(_ref("name"))}
    device = _ref("device_id")
    forms = {
        Channel.TELEMETRY: ({"device_id": device, "telemetry": {**metrics, "additionalProperties": metric}}, []),
        Channel.ALERTS: ({"device_id": _or_null(device), **named}, ["severity"]),
        Channel.DEVICES: (
            {"device_id": device, "new_status": _ref("name"), "old_status": _or_null(_ref("name"))},
            ["device_id", "new_status"],
        ),
        Channel.SYSTEM: ({"metrics": metrics}, ["metrics"]),
    }
    forms[Channel.TELEMETRY][1].extend(["device_id", "telemetry"])
    return {channel: _data(channel, properties, required) for channel, (properties, required) in forms.items()}


def _data(channel: int, properties: _Schema, required: list[str]) -> _Schema:
    """Return the form of a data message; `channel` may be left out by its publisher."""
    name = next(name for name, number in CHANNELS.items() if number == channel)
    own = {"type": {"const": MESSAGE_TYPES[channel]}, "channel": {"enum": [name, None]}}
    return _object({**own, **properties}, required=["type", *required])


# --- what the server sends


def _data_messages() -> dict[int, _Schema]:
    """Return the form of each data message as clients get it: with every documented member."""
    metric = _object({"value": {}, "unit": {}, "timestamp": {}}, required=["value", "unit", "timestamp"])
    device = _ref("device_id")
    metrics = {"type": "object", "minProperties": 1, "propertyNames": _ref("name")}
    events = {"timestamp": {}, "metadata": {}, "offset": _ref("offset")}
    members: dict[int, _Schema] = {
        Channel.TELEMETRY: {"device_id": device, "telemetry": {**metrics, "additionalProperties": metric}},
        Channel.ALERTS: {
            "alert_id": {},
            "device_id": _or_null(device),
            "severity": _ref("name"),
            "title": {},
            "message": {},
            **events,
        },
        Channel.DEVICES: {
            "device_id": device,
            "old_status": _or_null(_ref("name")),
            "new_status": _ref("name"),
            "reason": {},
            **events,
        },
        Channel.SYSTEM: {"metrics": metrics, "timestamp": {}},
    }
    found = {}
    for channel, properties in members.items():
        required = ["channel", *(name for name in properties if name != "offset")]
        form = _data(channel, {**properties, "offset": _ref("offset")}, required)
        form["additionalProperties"] = channel == Channel.ALERTS  # what else an alert has passes through
        found[channel] = form
    return found


def _answers() -> _Schema:
    """Return the form of everything else that the server sends."""
    channel, success, count = _ref("channel"), {"const": True}, {"type": "integer", "minimum": 0}
    refusal = {"success": {"const": False}, "error": _ref("error"), "message": {"type": "string"}}
    welcome = {
        "success": success,
        "user": {"type": "string"},
        "expires_at": _ref("time"),
        "expires_in": count,
        "channels": {"type": "array", "items": channel, "uniqueItems": True},
    }
    result = {"anyOf": [_whole({"success": success}), _whole({"success": {"const": False}, "error": _ref("error")})]}
    devices = {"type": "array", "items": _ref("device_id"), "minItems": 1}
    subscribed = {"id": _ref("id"), "success": success, "channel": channel, "filters": {"type": "object"}}
    maybe = {
        "frequency": _ref("frequency"),
        "denied": _whole({"device_id": devices}),
        "position": _ref("position"),
        "recovered": {"type": "boolean"},
    }
    said = {"error": _ref("error"), "message": {"type": "string"}}
    identified = {"id": _ref("id")}
    told = {**identified, "channel": channel, "retry_after": {"type": "number", "minimum": 0}}
    pong = {**identified, "client_timestamp": {"type": ["string", "number", "boolean"]}}
    return {
        "auth_response": {"anyOf": [_sent("auth_response", each, identified) for each in (welcome, refusal)]},
        "subscribe_response": _sent("subscribe_response", subscribed, maybe),
        "unsubscribe_response": _sent(
            "unsubscribe_response", {"id": _ref("id"), "success": success, "channel": channel}
        ),
        "publish_response": _sent("publish_response", {"id": _ref("id"), "success": success}),
        "batch_response": _sent(
            "batch_response", {"id": _ref("id"), "success": success, "results": {"type": "array", "items": result}}
        ),
        "pong": _sent("pong", {"timestamp": _ref("time")}, pong),
        "error": _sent("error", said, told),
        "unsubscribed": _sent(
            "unsubscribed", {"channel": channel, "reason": {"const": "permission_revoked"}}, {"device_id": devices}
        ),
        "token_expiring": _sent("token_expiring", {"expires_in": count}),
        "resync": _sent("resync", {"channel": channel, "position": _ref("position")}),
        "notice": _sent("notice", {"code": {"const": "conflated"}, "count": count}),
        "batch": _sent("batch", {"messages": {"type": "array", "items": _ref("data_message"), "minItems": 1}}),
    }


def _sent(name: str, always: _Schema, sometimes: _Schema | None = None) -> _Schema:
    """Return the form of a message that the server makes: these members and no others."""
    return _whole({"type": {"const": name}, **always}, sometimes)


def _whole(always: _Schema, sometimes: _Schema | None = None) -> _Schema:
    return _object({**always, **(sometimes or {})}, required=list(always), more=False)


# --- JSON Schema


def _object(properties: _Schema, *, required: list[str] | None = None, more: bool = True) -> _Schema:
    found: _Schema = {"type": "object", "properties": properties}
    if required:
        found["required"] = required
    if not more:
        found["additionalProperties"] = False
    return found


def _one_or_several(form: _Schema) -> _Schema:
    return {"anyOf": [form, {"type": "array", "items": form, "minItems": 1}]}


def _or_null(form: _Schema) -> _Schema:
    return {"anyOf": [form, {"type": "null"}]}


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/$defs/{name}"}
