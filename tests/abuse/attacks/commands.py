"""What clients do that are in: commands that are costly, forbidden, or never end."""

from __future__ import annotations

from abuse.attacks.registry import USERS, Visits, attack, floods, paced, tokens_of, ways_in
from abuse.frames import PLAIN, command, flood
from abuse.swarm import End, Visit
from abuse.target import token

EVERY = 0.1  # seconds between two blocks of those who keep to the limit of messages
BLOCK = 9  # commands of such a block: 90 a second, where 100 may come


@attack
def subscription_flood(connections: int, megabytes: int, patience: float) -> Visits:
    """As many device ids as may be and more, kept; and subscribing and unsubscribing without a pause."""
    entries = ways_in("subscriptions")
    for number in range(connections):
        base = number * 20_000 + 1_000_000
        data = b"".join(
            command(type="subscribe", channel="telemetry", device_id=list(range(at, at + 110)), id=at)
            for at in range(base, base + 11_000, 110)
        )
        yield Visit(opening=entries[number % USERS], data=data, inputs=100, end=End.WAIT, patience=patience)
    both = [command(type=kind, channel="alerts", device_id=list(range(100))) for kind in ("subscribe", "unsubscribe")]
    yield from floods("subscriptions", [(b"", flood(both))], max(1, connections // 10), megabytes)


@attack
def stopped_readers(count: int, patience: float) -> Visits:
    """Clients that subscribe to everything and read nothing."""
    tokens = tokens_of("stopped")
    channels = ("telemetry", "alerts", "devices", "system")
    subscribe = b"".join(command(type="subscribe", channel=name) for name in channels)
    for number in range(count):
        opening = PLAIN + command(type="auth", token=tokens[number % USERS])
        yield Visit(opening=opening, data=subscribe, end=End.STOP, patience=patience)


@attack
def publish_without_right(count: int) -> Visits:
    """Data messages of clients that may only read, and of some that may publish elsewhere."""
    readers = tokens_of("reader", 20)
    elsewhere = [token(f"elsewhere-{number}", publish=["alerts"], devices=["x"]) for number in range(20)]
    messages = [
        {"type": "telemetry_update", "device_id": 1, "telemetry": {"n": -1}},
        {"type": "alert", "device_id": 1, "alert_id": -1, "severity": "info", "title": "forged"},
        {"type": "alert", "alert_id": -1, "severity": "info", "title": "forged"},
        {"type": "telemetry_update", "device_id": "1", "telemetry": {"n": -1}},
        {"type": "system_status_update", "metrics": {"cpu_usage": -1}},
    ]
    for number in range(count):
        own = (readers, elsewhere)[number % 2][number // 2 % 20]
        data = b"".join(command(type="publish", message=message, id=1) for message in messages)
        yield Visit(opening=PLAIN + command(type="auth", token=own), data=data, inputs=len(messages))


@attack
def recovery_flood(connections: int, seconds: float, epoch: str, first: int, last: int) -> Visits:
    """Histories replayed and snapshots taken, again and again, as often as the limit of messages lets a client ask."""
    middle = (first + last) // 2
    asked: list[dict[str, object]] = [
        {"since": {"epoch": epoch, "offset": first}},
        {"since": {"epoch": epoch, "offset": middle}, "device_id": [0, 1]},
        {"since": {"epoch": epoch, "offset": first}, "device_id": "nobody"},
        {"since": {"epoch": epoch, "offset": middle}, "metrics": "nothing"},
        {"snapshot": True},
        {"since": {"epoch": epoch, "offset": middle}, "frequency": "1s"},
        {"since": {"epoch": "gone", "offset": 1}},
        {"since": {"epoch": epoch, "offset": middle}, "device_id": [2, 3, 4]},
        {"since": {"epoch": epoch, "offset": last}, "recover": True},
    ]
    each = [command(type="subscribe", channel="telemetry", **one) for one in asked]
    blocks = [b"".join(each), each[0] * BLOCK, (each[1] + each[7]) * (BLOCK // 2), each[4] * BLOCK]
    yield from paced("recovery", blocks, connections, seconds, inputs=BLOCK, every=EVERY)


@attack
def frequency_flood(connections: int, seconds: float) -> Visits:
    """Subscriptions with each frequency and deadband that there is, and some that are none, changed all the time."""
    frequencies: list[object] = [
        *("real-time", "1ms", "50ms", "1s", "7s", "59m", "24h", {"every": "1s", "deadband": 0.5}, ["3s"]),
        *({"every": "real-time", "deadband": "2%"}, {"every": "1ms", "deadband": 1e300}, "0s", "-1s", "1e9s", "1d", {}),
        *({"every": "1s", "deadband": -1}, {"every": "1s", "deadband": "1e400%"}, 5, True, "9" * 40 + "h", [["1s"]]),
    ]
    frequencies += [f"{number}ms" for number in range(10, 5_000, 37)]
    commands = [
        command(type="subscribe", channel="telemetry", frequency=frequency, snapshot=number % 5 == 0, **wanted)
        for number, frequency in enumerate(frequencies)
        for wanted in ({}, {"device_id": [number % 5]}, {"device_id": list(range(5)), "metrics": ["n", f"m{number}"]})
    ]
    commands += [command(type="unsubscribe", channel="telemetry")] * (BLOCK - len(commands) % BLOCK)
    blocks = [b"".join(commands[at : at + BLOCK]) for at in range(0, len(commands), BLOCK)]
    yield from paced("frequencies", blocks, connections, seconds, inputs=BLOCK, every=EVERY)
