from __future__ import annotations

import asyncio
from itertools import pairwise

from harness import running, until
from services import free_port
from valtronics_fast.load.publisher import Publisher
from valtronics_fast.load.tally import Tally

KEY = {"X-API-Key": "k"}


async def publish(url: str, headers: dict[str, str], tally: Tally, *, messages: int, rate: float = 500.0) -> Publisher:
    """Publish until so many messages were sent."""
    publisher = Publisher(url, headers, rate=rate, devices=3, tally=tally)
    task = asyncio.create_task(publisher.run())
    await until(lambda: publisher.sent >= messages)
    publisher.stop()
    await task
    return publisher


async def test_messages_of_devices_in_turn_that_say_when_they_were_due() -> None:
    async with running(http={"api_key": "k"}) as site, site.client() as client:
        await client.subscribe("telemetry")
        tally = Tally("bench_1")
        publisher = await publish(site.http_url(""), KEY, tally, messages=20)
        assert publisher.accepted == publisher.sent >= 20
        got = [await client.receive() for _ in range(publisher.accepted)]
        assert [message["device_id"] for message in got[:4]] == ["bench-0", "bench-1", "bench-2", "bench-0"]
        due = [message["telemetry"]["bench_1"]["value"] for message in got]
        assert {later - earlier for earlier, later in pairwise(due)} <= {1999, 2000, 2001}
        assert publisher.matched == publisher.accepted
        assert (publisher.rejected, tally.errors.total()) == (0, 0)


async def test_what_goes_wrong_is_counted() -> None:
    tally = Tally("bench_1")
    async with running(http={"api_key": "k", "publish_rate": 5}) as site:
        await publish(site.http_url(""), {"X-API-Key": "wrong"}, tally, messages=1)
        token = site.token(publish=["alerts"])
        found = await publish(site.http_url(""), {"Authorization": f"Bearer {token}"}, tally, messages=1)
        assert found.rejected == found.sent >= 1
        found = await publish(site.http_url(""), KEY, tally, messages=60)
        assert 5 <= found.accepted < 60
    await publish(f"http://127.0.0.1:{free_port()}", KEY, tally, messages=1)
    assert set(tally.errors) == {"publishing: HTTP 401", "publishing: HTTP 429", "publishing: no connection"}
