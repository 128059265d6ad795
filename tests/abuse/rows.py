"""The rows of the campaign, in their order."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from abuse.audience import Stream
from abuse.campaign import BROKER, Outcome, Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from abuse.campaign import Campaign

__all__ = ["ROWS"]

HOUR = 3600
BULK = 16 << 10  # bytes of an alert that fills the queues of those who don't read
BULKS = 400  # such alerts: more than `limits.queue_limit` and the kernel take
RECONNECT_TIMEOUT = 30.0
AUTH, HTTP_AUTH = "authentication failed", "HTTP authentication failed"
REPORT = "a client reports an error"


def simple(
    name: str, *, window: tuple[int, int] = (64, 64), seeded: bool = False, **scale: tuple[int, int]
) -> Callable[[Campaign], Awaitable[Outcome]]:
    """Return a row's attack that is one process: its arguments are those for the full and the quick campaign."""

    async def attack(campaign: Campaign) -> Outcome:
        options: dict[str, object] = {key: campaign.scaled(*values) for key, values in scale.items()}
        if seeded:
            options["seed"] = campaign.seed
        return await campaign.attack(name, window=campaign.scaled(*window), **options)

    return attack


async def connection_flood(campaign: Campaign) -> Outcome:
    connections = campaign.target.connections
    return await campaign.attack(
        "connection_flood", window=2 * connections, count=campaign.scaled(2000, 150), connections=connections
    )


async def stopped_readers(campaign: Campaign) -> Outcome:
    """Fill the queues of 1,000 readers that have stopped, until the server has to close them."""
    count, patience = campaign.scaled(1000, 40), campaign.scaled(25, 8)
    async with campaign.attacking("stopped_readers", window=count, count=count, patience=patience) as attack:
        await attack.full()
        stream = await Stream.open(campaign.target)
        alert = {"type": "alert", "device_id": "bulk", "severity": "info", "title": "bulk", "message": "x" * BULK}
        for _ in range(BULKS):
            stream.send([alert])
            await stream.drain()
            await asyncio.sleep(0.01)
        await stream.close()
        return await attack.end()


async def publish_without_right(campaign: Campaign) -> Outcome:
    outcome = await campaign.attack("publish_without_right", count=campaign.scaled(4000, 100))
    return outcome.add(await campaign.attack("publish_over_http", http=True, count=campaign.scaled(4000, 100)))


async def stop_and_continue(campaign: Campaign) -> Outcome:
    """Stop the whole process: for a moment, for longer than timers take that are short, than those that are long."""
    pauses = (0.5, 1.5) if campaign.quick else (0.5, 4, 12, 40)
    for pause in pauses:
        campaign.target.send_signal(signal.SIGSTOP)
        await asyncio.sleep(pause)
        campaign.target.send_signal(signal.SIGCONT)
        await campaign.audience.settled()
    return Outcome(inputs=len(pauses))


async def clock_jumps(campaign: Campaign) -> Outcome:
    """Set the wall clock forwards and back, and try tokens that are good for ten minutes by the right time."""
    outcome = Outcome()
    jumps = (HOUR, -HOUR) if campaign.quick else (HOUR, 0, -HOUR, 0, 24 * HOUR, -24 * HOUR, 0.5, -0.5)
    try:
        for ahead in jumps:
            campaign.target.set_clock(ahead)
            found = await campaign.attack("entries", lifetimes=[HOUR / 6] * 5)
            refused = found.got["invalid_token"]
            if refused != (5 if ahead >= HOUR else 0):
                outcome.faults.append(f"{refused} of 5 tokens were refused with the clock {ahead} s ahead")
            outcome.add(Outcome(1, found.got, found.faults))
            await asyncio.sleep(campaign.scaled(3, 1))
    finally:
        campaign.target.set_clock(0)
    return outcome


async def broker_restarts(campaign: Campaign) -> Outcome:
    """Kill the broker and start it again; what devices send then must come again."""
    rounds = campaign.scaled(4, 1)
    for number in range(rounds):
        campaign.broker.kill()
        await asyncio.sleep(campaign.scaled(3, 0))
        await asyncio.to_thread(campaign.broker.start)
        title = f"round {number}"
        async with asyncio.timeout(RECONNECT_TIMEOUT):
            while not all(title in client.markers for client in campaign.audience.clients):
                payload = f'{{"severity":"info","title":"{title}"}}'
                await asyncio.to_thread(campaign.broker.publish, "valtronics/marker/alert", payload)
                await asyncio.sleep(0.2)
    return Outcome(inputs=rounds)


ROWS = (
    Row(
        "half-handshakes", "sockets that are silent, stop within the request, or drip",
        simple("half_handshakes", window=(5000, 300), count=(5000, 300)), frozenset({"closed", "HTTP 408"}),
    ),
    Row(
        "connection-flood", "too many from one address, of one user, in all",
        connection_flood, frozenset({"HTTP 429", "HTTP 503", "close 4005"}),
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
        simple("subscription_flood", window=(100, 20), connections=(100, 10), megabytes=(4, 1)),
        frozenset({"too_many_subscriptions", "close 4101"}),
    ),
    Row(
        "oversize", "frames, messages, tokens and batches that are too large or say so",
        simple("oversize", count=(5000, 120)),
        frozenset({"close 1009", "message_too_large", "batch_too_large", "close 1002"}), frozenset({AUTH}),
    ),
    Row(
        "deep-json", "JSON and MessagePack of up to 30,000 levels",
        simple("deep_json", count=(5000, 120)), frozenset({"invalid_message", "invalid_json"}),
    ),
    Row("bad-utf8", "text that is none", simple("bad_utf8", count=(5000, 120)), frozenset({"close 1007"})),
    Row(
        "deflate-bombs", "58 KB that are 60 MB, and broken streams",
        simple("deflate_bombs", count=(5000, 120)), frozenset({"close 1009", "close 1002"}),
    ),
    Row("stopped-readers", "subscribers to everything that read nothing", stopped_readers),
    Row(
        "token-guessing", "forged tokens, in messages and in the handshake",
        simple("token_guessing", seeded=True, count=(8000, 120)),
        frozenset({"invalid_token", "close 4001", "HTTP 401"}), frozenset({AUTH}),
    ),
    Row(
        "publish-without-right", "`publish` of clients that may not, and over HTTP",
        publish_without_right, frozenset({"forbidden", "HTTP 401", "HTTP 403"}), frozenset({HTTP_AUTH}),
    ),
    Row(
        "resets", "connections cut at any point",
        simple("resets", count=(12_000, 300)), frozenset({"it cut the connection"}),
    ),
    Row("stop-continue", "SIGSTOP, then SIGCONT after up to 40 s", stop_and_continue, lines=frozenset({BROKER})),
    Row("clock-jumps", "the wall clock set by up to a day, forwards and back", clock_jumps, lines=frozenset({AUTH})),
    Row("broker-restarts", "kill -9 of Mosquitto, and a new one", broker_restarts, lines=frozenset({BROKER})),
)  # fmt: skip
