"""Every operation of the HTTP side: its route, who may use it, what it takes and what it answers.

The routes of `http_api` and the OpenAPI document (`http_openapi`) are both made of this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from valtronics_fast import http_schemas as schemas
from valtronics_fast._core.wire import CHANNEL_NAMES, MESSAGE_TYPES, Channel
from valtronics_fast.http_connections import Dismissal, Listing, Path, Question, Reason
from valtronics_fast.http_rebalance import Order
from valtronics_fast.metrics.exposition import OPENMETRICS, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

__all__ = ["OPERATIONS", "Operation", "Text"]

_DEVICE = {
    "description": "An integer of 64 bits, or 1 to 64 bytes of text.",
    "anyOf": [
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^\\u0000]*$"},
    ],
}
_NAME = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^\\u0000]*$"}
_METRICS = {"type": "object", "minProperties": 1, "maxProperties": 256, "propertyNames": _NAME}
_VALUE = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "object", "required": ["value"]},
    ]
}


def _message(channel: Channel, required: tuple[str, ...], **properties: object) -> dict[str, object]:
    """Return the schema of a data message; fields beyond these are allowed."""
    return {
        "type": "object",
        "required": ["type", *required],
        "properties": {
            "type": {"const": MESSAGE_TYPES[channel]},
            "channel": {"enum": [CHANNEL_NAMES[channel], None]},
            **properties,
        },
    }


_MESSAGE = {
    "description": "A data message (docs/protocol.md); fields beyond those that are named are allowed.",
    "oneOf": [
        _message(
            Channel.TELEMETRY,
            ("device_id", "telemetry"),
            device_id=_DEVICE,
            telemetry={**_METRICS, "additionalProperties": _VALUE},
        ),
        _message(
            Channel.ALERTS,
            ("severity",),
            device_id={"anyOf": [_DEVICE, {"type": "null"}]},
            severity=_NAME,
            alert_type={"anyOf": [_NAME, {"type": "null"}]},
        ),
        _message(
            Channel.DEVICES,
            ("device_id", "new_status"),
            device_id=_DEVICE,
            new_status=_NAME,
            old_status={"anyOf": [_NAME, {"type": "null"}]},
        ),
        _message(Channel.SYSTEM, ("metrics",), metrics=_METRICS),
    ],
}
_MESSAGES = {
    "description": "Messages, each of which is judged for itself.",
    "type": "object",
    "required": ["messages"],
    "not": {"required": ["type"]},
    "properties": {"messages": {"type": "array"}},
    "maxProperties": 64,
}
_LINES = {"description": "A message a line, published as it arrives.", "type": "string"}

_BUSY = "`busy`: connections are being closed already"
_FORM = "`invalid_message`: a parameter or the body has not this form"
_NO_CONNECTION = "`not_found`: there is no such connection (any more)"
_TOO_LARGE = "`message_too_large`: the body is too large"
_BODY_TIME = "`request_timeout`: nothing came of the body for 30 s"


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON.

    Attributes:
        description: what it is.
        content_types: what `Accept` chooses from.
    """

    description: str
    content_types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation.

    Attributes:
        method, path: its route; `{id}` stands for the last part of a path.
        name: its own, which is that of its handler, too.
        summary: what it does, in a line.
        needs: the right that it needs; "": none.
        query, at: the Structs of its query string, and of the end of its path.
        bodies: the Struct or schema of its body, by content type.
        answers: the Struct of what it answers when all is well, or its text, by status.
        failures: when it answers with an error of its own, by status; those of all operations come on top.
        failure: the Struct of these.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    needs: Literal["", "publish", "read", "admin"] = ""
    query: type[msgspec.Struct] | None = None
    at: type[msgspec.Struct] | None = None
    bodies: Mapping[str, type[msgspec.Struct] | dict[str, Any]] = field(default_factory=dict)
    answers: Mapping[int, type[msgspec.Struct] | Text]
    failures: Mapping[int, str] = field(default_factory=dict)
    failure: type[msgspec.Struct] = schemas.Failure


OPERATIONS = (
    Operation(
        method="GET",
        path="/",
        name="get_index",
        summary="What there is.",
        answers={200: schemas.Index},
    ),
    Operation(
        method="GET",
        path="/health/live",
        name="get_live",
        summary="Whether the process handles requests.",
        answers={200: schemas.Live},
    ),
    Operation(
        method="GET",
        path="/health/ready",
        name="get_ready",
        summary="Whether new clients are taken, and the state of each part.",
        answers={200: schemas.Ready, 503: schemas.Ready},
    ),
    Operation(
        method="GET",
        path="/api/v1/openapi.json",
        name="get_openapi",
        summary="This document.",
        answers={200: schemas.Document},
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="get_metrics",
        summary="The metrics for Prometheus, of each worker; `http.metrics_networks` need no credential.",
        needs="read",
        answers={200: Text("Metrics (docs/metrics.md).", (TEXT, OPENMETRICS))},
    ),
    Operation(
        method="GET",
        path="/api/v1/stats",
        name="get_stats",
        summary="The figures of the server, of all its workers together.",
        needs="read",
        answers={200: schemas.Stats},
    ),
    Operation(
        method="POST",
        path="/api/v1/publish",
        name="post_publish",
        summary="Publish messages.",
        needs="publish",
        bodies={"application/json": {"anyOf": [_MESSAGE, _MESSAGES]}, "application/x-ndjson": _LINES},
        answers={200: schemas.PublishAnswer, 422: schemas.PublishAnswer},
        failures={
            400: "`invalid_json`, `invalid_message`: the body as a whole is not usable",
            408: _BODY_TIME,
            413: _TOO_LARGE,
            415: "`unsupported_media_type`",
            429: "`rate_limited`: more than `http.publish_rate`, or than the backplane takes",
            503: "`shutting_down`",
        },
        failure=schemas.PublishFailure,
    ),
    Operation(
        method="GET",
        path="/api/v1/explain",
        name="get_explain",
        summary="Why a connection does or does not get a device's messages.",
        needs="admin",
        query=Question,
        answers={200: schemas.Explanation},
        failures={400: _FORM, 404: _NO_CONNECTION},
    ),
    Operation(
        method="GET",
        path="/api/v1/connections",
        name="get_connections",
        summary="Who is connected: filtered, sorted, some at a time.",
        needs="admin",
        query=Listing,
        answers={200: schemas.ConnectionPage},
        failures={400: _FORM},
    ),
    Operation(
        method="GET",
        path="/api/v1/connections/{id}",
        name="get_connection",
        summary="One connection.",
        needs="admin",
        at=Path,
        answers={200: schemas.Connection},
        failures={400: _FORM, 404: _NO_CONNECTION},
    ),
    Operation(
        method="DELETE",
        path="/api/v1/connections/{id}",
        name="delete_connection",
        summary="Close one connection (4003).",
        needs="admin",
        at=Path,
        query=Reason,
        answers={200: schemas.Closed},
        failures={400: _FORM, 404: _NO_CONNECTION},
    ),
    Operation(
        method="POST",
        path="/api/v1/disconnect",
        name="post_disconnect",
        summary="Close all connections of a user (4003).",
        needs="admin",
        bodies={"application/json": Dismissal},
        answers={200: schemas.Closed},
        failures={400: _FORM, 408: _BODY_TIME, 413: _TOO_LARGE},
    ),
    Operation(
        method="POST",
        path="/api/v1/rebalance",
        name="post_rebalance",
        summary="Close connections so that their clients come back elsewhere (4200).",
        needs="admin",
        bodies={"application/json": Order},
        answers={202: schemas.Rebalanced},
        failures={400: _FORM, 408: _BODY_TIME, 409: _BUSY, 413: _TOO_LARGE},
    ),
    Operation(
        method="POST",
        path="/api/v1/drain",
        name="post_drain",
        summary="Begin the end, as SIGTERM does.",
        needs="admin",
        answers={202: schemas.Draining},
    ),
)
