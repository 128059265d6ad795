"""The settings that bound what clients may use and what the server keeps: the sections `limits` and `history`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from valtronics_fast.setting import MAX_COUNT, Count, Duration, Section, Size, setting
from valtronics_fast.units import Rate

__all__ = ["HistoryConfig", "LimitsConfig"]


class LimitsConfig(Section, frozen=True, kw_only=True):
    """What one client, and what all together may use."""

    connections: Annotated[
        Count, setting("Connections of this machine in all, then HTTP 503.", unit="connections", zero="no limit")
    ] = 1000
    connections_per_user: Annotated[
        Count,
        setting(
            "Connections of one user, on all nodes of a backplane as of a second ago, then close 4005.",
            unit="connections",
            zero="no limit",
        ),
    ] = 100
    connection_rate: Annotated[
        Rate, setting("New connections of one client address, then HTTP 429.", zero="no limit")
    ] = Rate(10, 60.0)
    messages_per_second: Annotated[
        Count, setting("Messages of one connection; each item of a batch counts.", zero="no limit")
    ] = 100
    message_size: Annotated[
        Size, setting("Largest message; each item of a batch for itself.", zero="no limit")
    ] = 1024
    auth_size: Annotated[Size, setting("Largest `auth` message.", zero="no limit")] = 8192
    frame_size: Annotated[
        Size, setting("Largest WebSocket message, such as a batch, then close 1009.", zero="no limit")
    ] = 65_536
    fragments: Annotated[
        Count, setting("Fragments of one WebSocket message, then close 1009.", zero="no limit")
    ] = 64
    batch_items: Annotated[Count, setting("Items of one batch.", zero="no limit")] = 50
    subscriptions: Annotated[Count, setting("Subscriptions of one connection.", zero="no limit")] = 1000
    device_ids: Annotated[
        Count, setting("Device ids in all subscriptions of one connection.", zero="no limit")
    ] = 10_000
    min_interval: Annotated[
        Duration,
        setting(
            "The smallest interval between two updates of a device that a telemetry or system subscription may have; "
            "what asks for more is slowed down, and told so.",
            zero="real time",
        ),
    ] = 0.0
    replayed_messages: Annotated[
        Count,
        setting(
            "Messages a second that are replayed for one connection (`since`), and ten times as many at once; ten that "
            "do not match count as one. Beyond it, a snapshot is sent.",
            zero="no limit",
        ),
    ] = 4000
    publication_size: Annotated[
        Size, setting("Largest data message that is published, as JSON.", zero="no limit")
    ] = 65_536
    json_depth: Annotated[Count, setting("Depth of a message's JSON.", unit="levels", zero="no limit")] = 16
    queue_mark: Annotated[
        Size,
        setting(
            "What may wait for a client until telemetry and system values are conflated: newest per device and metric.",
            zero="they never are",
        ),
    ] = 512 << 10
    queue_size: Annotated[
        Size, setting("What may wait for a client for `queue_time`, then close 4102.", zero="no limit")
    ] = 2 << 20
    queue_time: Annotated[Duration, setting("How long more than `queue_size` may wait.", zero="not at all")] = 30.0
    queue_limit: Annotated[
        Size,
        setting(
            "What may wait for a client at most, alerts and status changes above all, then close 4102 at once.",
            zero="no limit",
        ),
    ] = 4 << 20
    all_queues: Annotated[
        Size,
        setting("What may wait for all clients together; then the one with most is closed, 4102.", zero="no limit"),
    ] = 256 << 20
    memory: Annotated[
        Size,
        setting(
            "Memory of the process: beyond it nobody is let in (HTTP 503), and the clients that most waits for are "
            "closed one by one, 4102.",
            zero="no limit",
        ),
    ] = 0
    addresses: Annotated[
        int,
        msgspec.Meta(ge=1, le=MAX_COUNT),
        setting("Most recent client addresses whose new connections and TLS handshakes are counted.", unit="addresses"),
    ] = 100_000


class HistoryConfig(Section, frozen=True, kw_only=True):
    """What is remembered of each channel for those who come later, or read slowly."""

    latest_size: Annotated[
        Size,
        setting(
            "Newest values of a channel, by device and metric: for frequencies, slow readers and snapshots. Beyond it, "
            "the device that has been silent longest is forgotten.",
            zero="no limit",
        ),
    ] = 64 << 20
    messages: Annotated[
        Count, setting("Messages of a channel that are kept for clients that come back.", zero="none")
    ] = 10_000
    size: Annotated[Size, setting("Memory that they may take.", zero="no limit")] = 16 << 20
    age: Annotated[Duration, setting("How long they are kept.", zero="no limit")] = 300.0
