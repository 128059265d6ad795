"""The rows of the campaign, in their order: one profile of the server after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abuse import scenarios
from abuse.result import BROKER, MIB, Row
from abuse.target import PROXIED, SECURE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from abuse.campaign import Campaign
    from abuse.result import Outcome

__all__ = ["ROWS", "SUBSCRIPTIONS_KEEP"]

SUBSCRIPTIONS_KEEP = 120 * MIB
"""Bytes that stay in use after 1,000,000 devices were subscribed to by 100 clients that have gone."""

AUTH, HTTP_AUTH = "authentication failed", "HTTP authentication failed"
ADMIN = frozenset({"admin", "an admin request failed", "an admin function was refused"})
REPORT = "a client reports an error"
BANNED = "an address is banned"
NOT_RELOADED = "reloading failed, nothing was changed"


def simple(
    name: str, *, window: tuple[int, int] = (64, 64), seeded: bool = False, http: bool = False, **scale: tuple[int, int]
) -> Callable[[Campaign], Awaitable[Outcome]]:
    """Return a row's attack that is one process: its arguments are those for the full and the quick campaign."""

    async def attack(campaign: Campaign) -> Outcome:
        options: dict[str, object] = {key: campaign.scaled(*values) for key, values in scale.items()}
        if seeded:
            options["seed"] = campaign.seed
        return await campaign.attack(name, window=campaign.scaled(*window), http=http, **options)

    return attack


ROWS = (
    Row(
        "half-handshakes", "sockets that are silent, stop within the request, or drip",
        simple("half_handshakes", window=(5000, 300), count=(5000, 300)), frozenset({"closed", "HTTP 408"}),
    ),
    Row(
        "connection-flood", "too many from one address, of one user, in all",
        scenarios.connection_flood, frozenset({"HTTP 429", "HTTP 503", "close 4005"}), open=False,
    ),
    Row(
        "random-frames", "random frames, 20 a connection",
        simple("random_frame_streams", seeded=True, count=(1_000_000, 10_000)),
        frozenset({"invalid_json", "close 1002", "close 1007"}), frozenset({AUTH, REPORT}),
    ),
    Row(
        "mutated-frames", "valid sessions with bytes flipped, inserted, taken out, moved, cut off",
        simple("mutated_sessions", seeded=True, count=(1_000_000, 10_000)),
        frozenset({"invalid_json", "invalid_token", "forbidden", "close 1002", "close 1000"}),
        frozenset({AUTH, REPORT}),
    ),
    Row(
        "fragment-flood", "messages of fragments without an end",
        simple("fragment_flood", window=(16, 16), connections=(64, 8), megabytes=(4, 1)),
        frozenset({"close 1009", "rate_limited"}),
    ),
    Row(
        "ping-flood", "WebSocket pings, pongs, `ping` commands, batches of them",
        simple("ping_flood", window=(16, 16), connections=(64, 8), megabytes=(4, 1)),
        frozenset({"close 4101", "rate_limited"}),
    ),
    Row(
        "subscription-flood", "device ids up to the limit and beyond; subscribing and unsubscribing for ever",
        simple("subscription_flood", window=(100, 20), connections=(100, 10), megabytes=(4, 1), patience=(6, 2)),
        frozenset({"too_many_subscriptions", "close 4101"}), keeps=SUBSCRIPTIONS_KEEP,
    ),
    Row(
        "recovery-flood", "histories replayed and snapshots taken again and again, within the limit of messages",
        scenarios.recovery_flood, frozenset({"closed"}),
    ),
    Row(
        "frequency-flood", "each frequency that there is, and some that are none, changed all the time",
        simple("frequency_flood", window=(64, 8), connections=(64, 8), seconds=(8, 1)), frozenset({"invalid_filter"}),
    ),
    Row(
        "oversize", "frames, messages, tokens and batches that are too large or say so",
        simple("oversize", count=(5000, 120)),
        frozenset({"close 1009", "message_too_large", "batch_too_large", "close 1002"}), frozenset({AUTH}),
    ),
    Row(
        "deep-json", "JSON of up to 30,000 levels",
        simple("deep_json", count=(5000, 120)), frozenset({"invalid_message"}),
    ),
    Row(
        "messagepack", "MessagePack that is deep, oversize, broken, or more than JSON can hold",
        simple("messagepack", seeded=True, count=(8000, 300)),
        frozenset({"invalid_message", "invalid_json", "message_too_large", "batch_too_large", "close 1003"}),
    ),
    Row("bad-utf8", "text that is none", simple("bad_utf8", count=(5000, 120)), frozenset({"close 1007"})),
    Row(
        "deflate-bombs", "58 KB that are 60 MB, and broken streams",
        simple("deflate_bombs", count=(5000, 120)), frozenset({"close 1009", "close 1002"}),
    ),
    Row(
        "stopped-readers", "subscribers to everything that read nothing",
        scenarios.stopped_readers, frozenset({"close 4102"}),
    ),
    Row(
        "token-guessing", "forged tokens, in messages and in the handshake",
        simple("token_guessing", seeded=True, count=(8000, 120)),
        frozenset({"invalid_token", "close 4001", "HTTP 401"}), frozenset({AUTH}),
    ),
    Row(
        "publish-without-right", "`publish` of clients that may not, and over HTTP",
        scenarios.publish_without_right, frozenset({"forbidden", "HTTP 401", "HTTP 403"}), frozenset({HTTP_AUTH}),
    ),
    Row(
        "explain-flood", "`/api/v1/explain` with wrong keys, and for what is not there",
        simple("explain_flood", http=True, count=(4000, 100)),
        frozenset({"HTTP 401", "HTTP 403", "HTTP 404", "HTTP 400"}), ADMIN | {HTTP_AUTH},
    ),
    Row(
        "resets", "connections cut at any point",
        simple("resets", count=(12_000, 300)), frozenset({"it cut the connection"}),
    ),
    Row(
        "stop-continue", "SIGSTOP, then SIGCONT after up to 40 s",
        scenarios.stop_and_continue, lines=frozenset({BROKER}), open=False,
    ),
    Row(
        "clock-jumps", "the wall clock set by up to a day, forwards and back",
        scenarios.clock_jumps, frozenset({"invalid_token"}), frozenset({AUTH}),
    ),
    Row(
        "broker-restarts", "Mosquitto killed with -9, stopped, hanging, within a numbered stream of QoS 1",
        scenarios.broker_restarts, frozenset({"arrived"}), frozenset({BROKER}),
    ),
    Row(
        "proxy-garbage", "PROXY headers that are broken, endless, half, or from elsewhere",
        simple("proxy_garbage", window=(500, 60), seeded=True, count=(4000, 120)),
        frozenset({"refused proxy_header", "refused proxy_timeout", "refused untrusted_proxy"}), frozenset({BANNED}),
        profile=PROXIED,
    ),
    Row(
        "origin-flood", "handshakes of pages that may not connect, by half with a good token",
        simple("origin_flood", count=(6000, 120)), frozenset({"HTTP 403"}), profile=PROXIED,
    ),
    Row(
        "bans", "bad tokens and broken frames from each address until it is banned, and then more",
        simple("banned_guests", count=(6000, 120)),
        frozenset({"refused banned", "HTTP 429", "close 4001"}), frozenset({AUTH, BANNED}), profile=PROXIED,
    ),
    Row(
        "tls-strangers", "TLS handshakes that are silent, half, garbage, or no TLS",
        simple("tls_strangers", window=(1500, 100), seeded=True, count=(6000, 200)),
        frozenset({"refused tls_failed", "refused tls_timeout"}), profile=SECURE,
    ),
    Row(
        "certificates", "the certificate renewed, or broken, again and again, in a flood of TLS handshakes",
        scenarios.certificates, frozenset({"certificates taken"}),
        frozenset({"reloaded", NOT_RELOADED}), profile=SECURE,
    ),
)  # fmt: skip
