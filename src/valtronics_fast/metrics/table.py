"""The table of the metrics: each said once, with its name, kind, labels and meaning, and where its figures are.

`exposition` writes them out and `reference` makes docs/metrics.md of them. What is read out of a worker's figures has
the label `worker` as well: a sum over workers would fall whenever one ends, which no counter may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valtronics_fast._core.wire import CHANNELS, COMMANDS, ERROR_NAMES, CloseCode
from valtronics_fast.claims import AuthReason
from valtronics_fast.http_guard import BAD_API_KEY, NO_CREDENTIAL
from valtronics_fast.metrics.metric import OTHER, Metric, Sample, by_channel, each, figure, find
from valtronics_fast.refusals import Reason
from valtronics_fast.suspects import Suspicion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["METRICS", "SUPERVISOR_METRICS", "WORKER_METRICS"]


def _build(figures: Mapping[str, Any]) -> Iterator[Sample]:
    yield tuple(figures["build"][name] for name in _BUILD), 1


def _dropped(figures: Mapping[str, Any]) -> Iterator[Sample]:
    for reason, path in _DROPPED.items():
        yield (reason,), find(figures, path) or 0


def _rejected(figures: Mapping[str, Any]) -> Iterator[Sample]:
    for producer, counters in figures["producers"].items():
        for name, count in counters.items():
            if name.partition("_")[0] == "rejected":
                yield (producer, name.removeprefix("rejected").removeprefix("_") or OTHER), count


def _backplane(figures: Mapping[str, Any]) -> Iterator[Sample]:
    yield (figures["backplane"]["name"],), 1


def _dumps(figures: Mapping[str, Any]) -> Iterator[Sample]:
    for direction in ("given", "taken"):
        count = find(figures, f"backplane.dumps_{direction}")
        if count is not None:
            yield (direction,), count


_BUILD = ("version", "python", "picows", "uvloop", "core")
_DROPPED = {
    "rate_limited": "messages_dropped",
    "backplane_buffer": "backplane.dropped",
    "mqtt_not_leading": "producers.mqtt.dropped",
}
"""Where messages are lost on purpose, and what counts them."""

_CODES = tuple(str(int(code)) for code in CloseCode)
_REFUSALS = tuple(reason.label for reason in Reason)
_TOKENS = tuple(map(str, AuthReason))
_CHANNEL = ("channel", "type")

METRICS = (
    # The process
    Metric("valtronics_build_info", "info", "What runs.", _build, _BUILD),
    Metric("valtronics_uptime_seconds", "gauge", "Time since the start.", figure("uptime"), across="max"),
    Metric("valtronics_ready", "gauge", "1 while clients are taken, 0 while it drains.", figure("ready"), across="min"),
    Metric("valtronics_cpu_seconds_total", "counter", "CPU time of the process.", figure("cpu_seconds")),
    Metric("valtronics_resident_memory_bytes", "gauge", "Resident memory of the process.", figure("memory.resident")),
    Metric(
        "valtronics_memory_limit_bytes",
        "gauge",
        "limits.memory, for each worker; 0: there is no limit.",
        figure("memory.limit"),
        across="max",
    ),
    Metric(
        "valtronics_short_of_memory",
        "gauge",
        "1 while limits.memory is exceeded and nobody is let in.",
        figure("short_of_memory"),
        across="max",
    ),
    Metric(
        "valtronics_closed_for_memory_total",
        "counter",
        "Clients that were closed for limits.memory.",
        figure("closed_for_memory"),
    ),
    Metric(
        "valtronics_without_descriptors_seconds_total",
        "counter",
        "Time in which no descriptor was left, and who connected was cut off.",
        figure("seconds_without_descriptors"),
    ),
    Metric(
        "valtronics_loop_lag_seconds",
        "histogram",
        "How late timers of the event loop fire, looked at ten times a second.",
        figure("loop_lag"),
    ),
    Metric(
        "valtronics_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the TLS certificate expires, in Unix time; missing without TLS.",
        figure("certificate_expires_at"),
        across="min",
    ),
    # Connections
    Metric("valtronics_connections", "gauge", "Open WebSocket connections.", figure("active_connections")),
    Metric(
        "valtronics_connections_limit",
        "gauge",
        "limits.connections, for all workers together; 0: there is no limit.",
        figure("connections_limit"),
        across="max",
    ),
    Metric("valtronics_connections_opened_total", "counter", "Since the start.", figure("total_connections")),
    Metric(
        "valtronics_connections_closed_total",
        "counter",
        "Connections that ended, by close code.",
        each("close_codes.*", _CODES),
        ("code",),
    ),
    Metric("valtronics_handshakes", "gauge", "Accepted sockets in the handshake, TLS included.", figure("half_open")),
    Metric(
        "valtronics_handshakes_refused_total",
        "counter",
        "Connections that ended before the upgrade, TLS handshakes that failed included.",
        each("refused.*", _REFUSALS),
        ("reason",),
    ),
    Metric(
        "valtronics_auth_failures_total",
        "counter",
        "Refused tokens of WebSocket clients.",
        each("auth_failures.*", _TOKENS),
        ("reason",),
    ),
    Metric(
        "valtronics_http_auth_failures_total",
        "counter",
        "Refused credentials of HTTP requests.",
        each("http_auth_failures.*", (BAD_API_KEY, NO_CREDENTIAL, *_TOKENS)),
        ("reason",),
    ),
    Metric("valtronics_cached_tokens", "gauge", "Verified tokens that are remembered.", figure("tokens.cached_tokens")),
    Metric("valtronics_jwks_fetches_total", "counter", "Fetches of the key set.", figure("tokens.jwks_fetches")),
    Metric("valtronics_jwks_failures_total", "counter", "Of those that failed.", figure("tokens.jwks_failures")),
    Metric(
        "valtronics_suspicions_total",
        "counter",
        "Failures of client addresses.",
        each("suspicion.failures.*", tuple(map(str, Suspicion))),
        ("kind",),
    ),
    Metric("valtronics_bans_total", "counter", "Addresses that were banned.", figure("suspicion.bans")),
    Metric("valtronics_banned_addresses", "gauge", "Addresses that are banned now.", figure("suspicion.banned")),
    # Messages
    Metric("valtronics_messages_received_total", "counter", "Messages of clients.", figure("messages_received")),
    Metric("valtronics_messages_sent_total", "counter", "Messages to clients, answers too.", figure("messages_sent")),
    Metric(
        "valtronics_received_bytes_total",
        "counter",
        "Bytes of frames from clients, headers included.",
        figure("bytes_received"),
    ),
    Metric("valtronics_sent_bytes_total", "counter", "Bytes of frames to clients.", figure("bytes_sent")),
    Metric(
        "valtronics_commands_total",
        "counter",
        "Commands of clients; each item of a batch is one, and the batch another.",
        each("commands.*", tuple(COMMANDS)),
        ("type",),
    ),
    Metric(
        "valtronics_channel_commands_total",
        "counter",
        "Of those, what names a channel: subscribe, unsubscribe, publish.",
        each("channels.*.received", tuple(CHANNELS)),
        ("channel",),
    ),
    Metric(
        "valtronics_errors_total",
        "counter",
        "Errors that clients were answered.",
        each("errors.*", tuple(ERROR_NAMES.values())),
        ("error",),
    ),
    Metric(
        "valtronics_messages_dropped_total",
        "counter",
        "Messages that were given up: of clients over their rate, for a backplane whose buffer is full, and what MQTT "
        "brought a node that does not lead.",
        _dropped,
        ("reason",),
    ),
    Metric(
        "valtronics_publications_total",
        "counter",
        "Data messages that were published; with a shared backplane each worker and node sees the same ones.",
        by_channel("publications"),
        _CHANNEL,
        across="max",
    ),
    Metric("valtronics_matches_total", "counter", "Subscriptions that they matched.", by_channel("matched"), _CHANNEL),
    Metric("valtronics_deliveries_total", "counter", "Data messages to clients.", by_channel("deliveries"), _CHANNEL),
    Metric("valtronics_delivered_bytes_total", "counter", "Bytes of those, as JSON.", by_channel("bytes"), _CHANNEL),
    Metric(
        "valtronics_kept_back_total",
        "counter",
        "Data messages that were kept back because their reader was behind.",
        by_channel("kept_back"),
        _CHANNEL,
    ),
    Metric(
        "valtronics_caught_up_total",
        "counter",
        "Messages of newest values that were sent in the place of some of those; the others were conflated.",
        by_channel("caught_up"),
        _CHANNEL,
    ),
    # Queues and turns
    Metric(
        "valtronics_fanout_seconds",
        "histogram",
        "From the first publication of a turn of the event loop until the turn's data was handed to the kernel.",
        figure("fanout"),
    ),
    Metric("valtronics_flushes_total", "counter", "Turns that ended with writing.", figure("turns.flushes")),
    Metric("valtronics_writes_total", "counter", "System calls that wrote.", figure("turns.writes")),
    Metric(
        "valtronics_writes_refused_total",
        "counter",
        "Of those, what the kernel did not take whole: somebody reads too slowly.",
        figure("turns.refused"),
    ),
    Metric(
        "valtronics_queue_bytes",
        "gaugehistogram",
        "Bytes that wait for a connection now: how many connections have at most so many.",
        figure("queues"),
    ),
    Metric(
        "valtronics_queued_bytes",
        "gauge",
        "Bytes that wait for all connections that do not read.",
        figure("slow_readers.queued_bytes"),
    ),
    Metric(
        "valtronics_queued_bytes_limit",
        "gauge",
        "limits.all_queues, for each worker.",
        figure("slow_readers.limit"),
        across="max",
    ),
    Metric("valtronics_readers_behind", "gauge", "Connections that are behind.", figure("slow_readers.behind")),
    Metric(
        "valtronics_closed_for_queues_total",
        "counter",
        "Connections that were closed for limits.all_queues.",
        figure("slow_readers.closed_for_others"),
    ),
    # What is kept
    Metric("valtronics_latest_devices", "gauge", "Devices with newest values.", each("latest.*.devices"), ("channel",)),
    Metric("valtronics_latest_bytes", "gauge", "Memory of newest values.", each("latest.*.bytes"), ("channel",)),
    Metric(
        "valtronics_latest_evicted_total",
        "counter",
        "Devices that were forgotten for history.latest_size.",
        each("latest.*.evicted"),
        ("channel",),
    ),
    Metric("valtronics_history_messages", "gauge", "Messages that are kept.", each("history.*.messages"), ("channel",)),
    Metric("valtronics_history_bytes", "gauge", "Memory of those.", each("history.*.bytes"), ("channel",)),
    Metric("valtronics_subscribed_devices", "gauge", "Devices subscribed to, in sum.", figure("index.entries")),
    Metric("valtronics_index_bytes", "gauge", "Memory of the subscription index.", figure("index.bytes")),
    # Producers
    Metric(
        "valtronics_producer_ready",
        "gauge",
        "1 while data can come in from it (for MQTT: from the broker).",
        each("producers.*.ready"),
        ("producer",),
    ),
    Metric(
        "valtronics_producer_messages_total",
        "counter",
        "Messages that came in; MQTT only.",
        each("producers.*.messages"),
        ("producer",),
    ),
    Metric(
        "valtronics_producer_published_total",
        "counter",
        "Data messages of its.",
        each("producers.*.published"),
        ("producer",),
    ),
    Metric(
        "valtronics_producer_skipped_total",
        "counter",
        "Messages that said nothing new; MQTT only.",
        each("producers.*.skipped"),
        ("producer",),
    ),
    Metric(
        "valtronics_producer_rejected_total",
        "counter",
        "Messages that could not be published.",
        _rejected,
        ("producer", "reason"),
    ),
    Metric(
        "valtronics_producer_reconnects_total",
        "counter",
        "How often it connected again; MQTT only.",
        each("producers.*.reconnects"),
        ("producer",),
    ),
    Metric(
        "valtronics_producer_leads",
        "gauge",
        "1 on the node that ingests from MQTT; missing without a shared backplane.",
        each("producers.*.leads"),
        ("producer",),
    ),
    # The backplane
    Metric("valtronics_backplane_info", "info", "Which one it is.", _backplane, ("backplane",)),
    Metric(
        "valtronics_backplane_ready",
        "gauge",
        "1 while messages reach the other servers.",
        figure("backplane.ready"),
        across="min",
    ),
    Metric("valtronics_backplane_losses_total", "counter", "How often it was lost.", figure("backplane.losses")),
    Metric(
        "valtronics_backplane_nodes",
        "gauge",
        "Other nodes that were heard in the last 5 s.",
        figure("backplane.nodes"),
        across="min",
    ),
    Metric("valtronics_backplane_lanes", "gauge", "Lanes that are followed, of 256.", figure("backplane.lanes")),
    Metric(
        "valtronics_backplane_position",
        "gauge",
        "Offset up to which everything has come.",
        figure("backplane.position"),
        across="min",
    ),
    Metric("valtronics_backplane_loads_total", "counter", "Lanes that were begun with.", figure("backplane.loaded")),
    Metric(
        "valtronics_backplane_waiting_bytes",
        "gauge",
        "What waits for it, up to backplane.buffer.",
        figure("backplane.waiting_bytes"),
    ),
    Metric("valtronics_backplane_resyncs_total", "counter", "Lanes with gaps, each time.", figure("backplane.resyncs")),
    Metric(
        "valtronics_backplane_delivered_apart_total",
        "counter",
        "Messages that were delivered here without it, while it was away.",
        figure("backplane.delivered_apart"),
    ),
    Metric("valtronics_backplane_repeated_total", "counter", "Entries that came twice.", figure("backplane.repeated")),
    Metric("valtronics_backplane_garbage_total", "counter", "Entries it could not read.", figure("backplane.garbage")),
    Metric(
        "valtronics_backplane_dumps_total",
        "counter",
        "Newest values of lanes, told to other nodes (given) and by them (taken).",
        _dumps,
        ("direction",),
    ),
)
"""Every metric that is read out of a worker's figures."""

WORKER_METRICS = (
    Metric("valtronics_worker_up", "gauge", "1 where it answers within a second.", figure("up"), across="min"),
    Metric("valtronics_worker_starts_total", "counter", "How often the worker was started.", figure("starts")),
)
"""What is known of each worker from outside: also of one that does not answer."""

SUPERVISOR_METRICS = (
    Metric("valtronics_supervisor_cpu_seconds_total", "counter", "CPU time of the supervisor.", figure("cpu_seconds")),
    Metric("valtronics_bus_entries_total", "counter", "Entries on the bus of the workers.", figure("bus.entries")),
    Metric("valtronics_bus_kept_bytes", "gauge", "What the bus keeps for recovery.", figure("bus.kept_bytes")),
    Metric("valtronics_bus_dropped_total", "counter", "Entries it gave up for its bounds.", figure("bus.dropped")),
    Metric("valtronics_bus_losses_total", "counter", "Workers that did not read from it.", figure("bus.losses")),
)
"""What the supervisor of several workers tells of itself; without the label `worker`."""
