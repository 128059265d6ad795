"""`GET /api/v1/explain` of a running server (docs/http-api.md)."""

from __future__ import annotations

import pytest

from documented import TELEMETRY
from harness import Message, Site, http, running

KEY = "the-operators-own-key-0123456789ab"


async def explained(site: Site, connection: int, device: object) -> tuple[int, Message]:
    path = f"/api/v1/explain?connection={connection}&device={device}"
    status, answer, _ = await http("GET", site.http_url(path), headers={"X-API-Key": KEY})
    return status, answer


@pytest.mark.parametrize(("metrics", "verdict"), [("temperature", "delivered"), ("pressure", "filtered")])
async def test_a_device_and_a_filter(metrics: str, verdict: str) -> None:
    async with running(http={"admin_key": KEY}) as site, site.client() as client:
        await client.subscribe("telemetry", metrics=metrics)
        site.server.publish(TELEMETRY)
        status, answer = await explained(site, 1, TELEMETRY["device_id"])
        assert status == 200
        found = answer["channels"]["telemetry"]
        assert (found["verdict"], found["metrics_wanted"]) == (verdict, [metrics] if verdict == "delivered" else [])
        assert 0 <= found["last_input"] < 60
        assert (await explained(site, 1, "another"))[1]["channels"]["telemetry"]["verdict"] == "no_input"
        assert (await explained(site, 2, 1))[0] == 404
