"""The OpenAPI document against a running server: schemathesis, which makes requests of it, good ones and bad ones.

What schemathesis can't make up by itself is asked for here: of connections that are there, in every form.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from websockets.exceptions import ConnectionClosed

from harness import http, running, telemetry
from http_served import ADMIN_KEY, KEY, WITH_ADMIN_KEY
from valtronics_fast.http_openapi import document
from valtronics_fast.http_operations import OPERATIONS

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"admin_key": ADMIN_KEY, "api_key": KEY}
EXAMPLES = 20

# What is more than the checks know of: a body that is too large is refused for that; and whether a message is good is
# told of each one, by 422 where none is.
SETTINGS = f"""\
headers = {{ X-API-Key = "{ADMIN_KEY}" }}
warnings = false
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422]
[[operations]]
include-name = "POST /api/v1/publish"
headers = {{ X-API-Key = "{KEY}" }}
checks.positive_data_acceptance.expected-statuses = ["2xx", 422]
[[operations]]
include-name = "GET /api/v1/explain"
# 64 characters may be more than 64 bytes.
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]
"""


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """All operations, with data that the document allows and data that it does not: each answer is as it says."""
    (tmp_path / "settings.toml").write_text(SETTINGS)
    async with running(http=KEYS) as site, site.client(user="bob") as client:
        await client.subscribe("telemetry", device_id=[1, 2])
        drains: list[None] = []
        site.server.on_drain = lambda: drains.append(None)
        _, whole, _ = await http("GET", site.http_url("/api/v1/openapi.json"))
        (tmp_path / "openapi.json").write_bytes(orjson.dumps(whole))  # what it is loaded from by HTTP is left out
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", "settings.toml", "run", "openapi.json"),
            *("--url", site.http_url("/"), "--phases=coverage,fuzzing", "--generation-deterministic"),
            *(f"--max-examples={EXAMPLES}", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        text = output.decode()
        assert process.returncode == 0, text
        assert f"Tested: {len(OPERATIONS)}" in text, text
        assert drains


def conforms(answer: object, path: str, method: str, status: int) -> None:
    """Assert that an answer is as the document says."""
    whole = document()
    content = whole["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator({"components": whole["components"], **content}).validate(answer)


async def test_answers_about_connections_that_are_there() -> None:
    async with running(http=KEYS) as site, site.connect("/ws/alerts"), site.client(user="bob") as client:
        await client.subscribe("telemetry", device_id=[1, 2])
        site.server.publish(telemetry())
        await client.receive()

        async def ask(method: str, path: str, query: str = "", status: int = 200, **more: Any) -> Any:
            url = site.http_url(path.replace("{id}", "2") + query)
            got, answer, _ = await http(method, url, headers=WITH_ADMIN_KEY, **more)
            assert got == status
            conforms(answer, path, method.lower(), status)
            return answer

        listed = await ask("GET", "/api/v1/connections")
        assert [each["user"] for each in listed["connections"]] == [None, "bob"]
        page = await ask("GET", "/api/v1/connections", "?limit=1")
        following = await ask("GET", "/api/v1/connections", f"?limit=1&cursor={page['next']}")
        assert [each["id"] for each in (*page["connections"], *following["connections"])] == [1, 2]
        assert following["next"] is None
        one = await ask("GET", "/api/v1/connections/{id}")
        assert (one["channels"], one["subscriptions"], one["devices"], one["messages_sent"]) == (["telemetry"], 1, 2, 3)
        explained = await ask("GET", "/api/v1/explain", "?connection=2&device=1")
        assert explained["channels"]["telemetry"]["verdict"] == "delivered"
        await ask("GET", "/api/v1/stats")
        assert (await ask("POST", "/api/v1/disconnect", json={"user": "eve"}))["connections"] == 0
        assert (await ask("DELETE", "/api/v1/connections/{id}", "?reason=go"))["connections"] == 1
        await ask("DELETE", "/api/v1/connections/{id}", status=404)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4003, "go")


async def test_a_drain_is_that_of_a_signal() -> None:
    async with running(http=KEYS, server={"drain_window": 0}) as site, site.client() as client:
        status, answer, _ = await http("POST", site.http_url("/api/v1/drain"), headers=WITH_ADMIN_KEY)
        assert (status, answer) == (202, {"status": "draining"})
        assert (await client.closed())[0] == 1012
