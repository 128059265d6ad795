"""The shapes of what the HTTP side answers, for its OpenAPI document (docs/http-api.md says what they mean).

The document is made of these Structs (`http_operations`). Answers are not: tests hold every answer of a running server
against the document.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "Closed",
    "Connection",
    "ConnectionPage",
    "Document",
    "Draining",
    "Explanation",
    "Failure",
    "Index",
    "Live",
    "PublishAnswer",
    "PublishFailure",
    "Ready",
    "Rebalanced",
    "Stats",
]

ChannelName = Literal["telemetry", "alerts", "devices", "system"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Figures = dict[str, Any]


class Failure(msgspec.Struct, kw_only=True):
    """What went wrong: a code for programs, and a text for people."""

    error: str
    message: str


class Rejected(msgspec.Struct, kw_only=True):
    """A message that was refused: its place in the request, from 0 on, and why."""

    index: Count
    error: str
    message: str


class PublishAnswer(msgspec.Struct, kw_only=True):
    """What became of the messages of a request."""

    accepted: Count
    matched: Count
    rejected: Annotated[list[Rejected], msgspec.Meta(max_length=100)]
    rejected_total: Count


class PublishFailure(Failure, kw_only=True):
    """What went wrong, and what had become of the messages before."""

    accepted: Count | msgspec.UnsetType = msgspec.UNSET
    matched: Count | msgspec.UnsetType = msgspec.UNSET
    rejected: list[Rejected] | msgspec.UnsetType = msgspec.UNSET
    rejected_total: Count | msgspec.UnsetType = msgspec.UNSET


class Document(msgspec.Struct, kw_only=True):
    """An OpenAPI document."""

    openapi: str
    info: Figures
    servers: list[Figures]
    paths: dict[str, Figures]
    components: Figures


class Index(msgspec.Struct, kw_only=True):
    """What there is."""

    name: str
    routes: list[str]


class Live(msgspec.Struct, kw_only=True):
    """The process handles requests."""

    status: Literal["ok"]


class Ready(msgspec.Struct, kw_only=True):
    """Whether new clients are taken, and the state of each part."""

    status: Literal["ready", "degraded", "draining"]
    checks: dict[str, str]


class Histogram(msgspec.Struct, kw_only=True):
    """How often something was at most so large: cumulative, by upper bound."""

    count: Count
    sum: Seconds
    buckets: dict[str, Count]


class Stats(msgspec.Struct, kw_only=True):
    """The server's figures."""

    build: dict[str, str]
    ready: bool
    connections_limit: Count
    half_open: Count
    cpu_seconds: Seconds
    memory: dict[str, Count]
    loop_lag: Histogram
    queues: Histogram
    fanout: Histogram
    turns: dict[str, Count]
    commands: dict[str, Count]
    errors: dict[str, Count]
    tokens: dict[str, Count]
    uptime: Seconds
    total_connections: Count
    active_connections: Count
    messages_received: Count
    messages_sent: Count
    bytes_received: Count
    bytes_sent: Count
    messages_dropped: Count
    average_connection_duration: Seconds
    messages_per_connection: Seconds
    close_codes: dict[str, Count]
    auth_failures: dict[str, Count]
    http_auth_failures: dict[str, Count]
    refused: dict[str, Count]
    suspicion: Figures
    seconds_without_descriptors: Count
    short_of_memory: bool
    closed_for_memory: Count
    event_loop: dict[str, Seconds]
    channels: dict[str, dict[str, Count]]
    slow_readers: dict[str, Count]
    latest: dict[str, Figures]
    history: dict[str, Figures]
    index: Figures
    producers: dict[str, Figures]
    backplane: Figures
    workers: dict[str, Figures] | msgspec.UnsetType = msgspec.UNSET
    supervisor: Figures | msgspec.UnsetType | None = msgspec.UNSET


class Verdict(msgspec.Struct, kw_only=True):
    """Why a channel's messages of the device do or do not reach the connection; more members say on what it rests."""

    verdict: str
    message: str
    last_input: Seconds | None


class Backpressure(msgspec.Struct, kw_only=True):
    """What waits for a connection."""

    queued_bytes: Count
    blocked: bool
    behind: bool
    conflated: Count


class Explanation(msgspec.Struct, kw_only=True):
    """Why a connection does or does not get a device's messages."""

    connection: Count
    user: str | None
    device_id: int | str | None
    channels: dict[str, Verdict]
    backpressure: Backpressure


class Connection(msgspec.Struct, kw_only=True):
    """A connection."""

    id: Count
    user: str | None
    address: str
    age: Seconds
    state: Literal["open", "closing"]
    endpoint: Literal["all"] | ChannelName
    format: Literal["json", "msgpack"]
    compression: bool
    tls: bool
    channels: list[ChannelName]
    subscriptions: Count
    devices: Count
    queued_bytes: Count
    behind: bool
    blocked: bool
    conflated: Count
    messages_sent: Count
    bytes_sent: Count
    messages_received: Count
    bytes_received: Count
    messages_per_second: Seconds


class ConnectionPage(msgspec.Struct, kw_only=True):
    """Some of the connections; `next` is the cursor of those behind them, null where there are none."""

    connections: list[Connection]
    next: str | None
    silent_workers: list[str]


class Closed(msgspec.Struct, kw_only=True):
    """How many connections were closed, and which workers have not said how many."""

    connections: Count
    silent_workers: list[str]


class Rebalanced(msgspec.Struct, kw_only=True):
    """How many connections are being moved elsewhere."""

    connections: Count


class Draining(msgspec.Struct, kw_only=True):
    """The drain has begun."""

    status: Literal["draining"]
