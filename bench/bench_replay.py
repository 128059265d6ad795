"""Recovery: what a client has missed, out of a full history of 10,000 messages, up to its queue."""

from __future__ import annotations

import pytest

from socketless import METRICS, Population, telemetry

KEPT = 10_000
DEVICES = 1000
MISSED = 1000
# How many messages have come since the position that the client tells, and how many devices it is subscribed to.
CASES = {"the_last_1000": (MISSED, DEVICES), "1000_of_10000": (KEPT, DEVICES // 10), "none_of_10000": (KEPT, 0)}


@pytest.mark.benchmark(group="replay: missed messages out of 10000 that are kept")
@pytest.mark.parametrize("case", CASES)
def test_replay(steady, case):
    missed, devices = CASES[case]
    with Population(history=KEPT) as population:
        hub = population.hub
        population.connect_tcp(1)
        for number in range(KEPT):
            hub.publish(telemetry(number % DEVICES, METRICS[:1]))
        since = {"epoch": hub.epoch, "offset": hub.histories[0].last - missed}
        wanted = {"device_id": list(range(devices)) if devices else "another"}
        subscribe = {"type": "subscribe", "channel": "telemetry", "since": since, **wanted}
        received = []

        def unsubscribe() -> None:
            population.command(0, {"type": "unsubscribe", "channel": "telemetry"})
            received.append(population.settle())

        steady(lambda: population.command(0, subscribe), prepare=unsubscribe, items=MISSED if devices else 1)
        assert (received[-1] > MISSED * 150) == (devices > 0)
        assert population.sessions[0].close_code == 0
