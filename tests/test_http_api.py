from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar

import orjson
import pytest

from harness import TIMEOUT
from http_served import (
    GRANTS,
    HALF_A_BODY,
    HALF_A_STREAM,
    KEY,
    NOTHING,
    WITH_ADMIN_KEY,
    WITH_KEY,
    Serve,
    Served,
    Site,
    bearer,
    serving,
    telemetry,
    verify,
)
from valtronics_fast import http_api
from valtronics_fast.config import HttpConfig
from valtronics_fast.http_api import HttpApi
from valtronics_fast.metrics import exposition
from valtronics_fast.request_ids import MAX_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from valtronics_fast._core.scope import Grant


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


class TestRoutes:
    async def test_index(self, served: Served) -> None:
        status, answer = await served.ask("GET", "/")
        assert status == 200
        assert answer["name"] == "valtronics-fast"
        assert "POST /api/v1/publish" in answer["routes"]

    @pytest.mark.parametrize("path", ["/health/live", "/health/live/"])
    async def test_live(self, served: Served, path: str) -> None:
        assert await served.ask("GET", path) == (200, {"status": "ok"})

    @pytest.mark.parametrize(
        ("ready", "state", "status", "word"),
        [
            (True, "ok", 200, "ready"),
            (True, "degraded", 200, "degraded"),
            (False, "ok", 503, "draining"),
            (False, "degraded", 503, "draining"),
        ],
    )
    async def test_ready(self, served: Served, ready: bool, state: str, status: int, word: str) -> None:
        checks = {"mqtt": state, "backplane": "ok"}
        served.site.health_told = {"ready": ready, "checks": checks}
        assert await served.ask("GET", "/health/ready") == (status, {"status": word, "checks": checks})

    @pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/api/v1/stats"])
    async def test_head(self, served: Served, path: str) -> None:
        assert await served.ask("HEAD", path, headers=WITH_KEY) == (200, None)

    @pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/health", "/api/v1/stats/x", "/%00%0a"])
    async def test_unknown_path(self, served: Served, path: str) -> None:
        status, answer = await served.ask("GET", path)
        assert (status, answer["error"]) == (404, "not_found")

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            (b"CONNECT a:1 HTTP/1.1", b"405"),
            (b"OPTIONS * HTTP/1.1", b"404"),
            (b"GET http://a/health/live HTTP/1.1", b"200"),
            (b"GET /health/live?x=1 HTTP/1.0", b"200"),
            (b"GET //health/live HTTP/1.1", b"404"),
        ],
    )
    async def test_odd_targets(self, served: Served, line: bytes, status: bytes) -> None:
        answer = await served.raw(line + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == status
        orjson.loads(body)

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("POST", "/", "GET, HEAD"),
            ("PUT", "/health/live", "GET, HEAD"),
            ("OPTIONS", "/api/v1/stats", "GET, HEAD"),
            ("GET", "/api/v1/publish", "POST"),
            ("DELETE", "/api/v1/publish", "POST"),
        ],
    )
    async def test_wrong_method(self, served: Served, method: str, path: str, allow: str) -> None:
        url = f"http://127.0.0.1:{served.api.port}{path}"
        async with served.session.request(method, url) as response:
            assert response.status == 405
            assert response.headers["Allow"] == allow
            assert (await response.json())["error"] == "method_not_allowed"

    async def test_head_of_publish_is_a_wrong_method(self, served: Served) -> None:
        assert await served.ask("HEAD", "/api/v1/publish") == (405, None)

    async def test_a_fault_of_the_server(self, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(Site):
            async def stats(self) -> dict[str, object]:
                raise ZeroDivisionError("inner detail")

        served = await serve(site=Broken())
        status, answer = await served.ask("GET", "/api/v1/stats", headers=WITH_KEY)
        assert (status, answer) == (500, {"error": "internal", "message": "internal error"})
        [record] = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError


class TestStats:
    STATS = (200, {"active": 3, "close_codes": {"1000": 1}})

    async def test_open_in_a_demo_on_loopback(self, serve: Serve) -> None:
        assert await (await serve(api_key="", demo=True)).ask("GET", "/api/v1/stats") == self.STATS

    @pytest.mark.parametrize(
        "headers", [WITH_KEY, WITH_ADMIN_KEY, *(bearer(f"{name}-token") for name in ("writer", "monitor", "admin"))]
    )
    async def test_authorised(self, served: Served, headers: dict[str, str]) -> None:
        assert await served.ask("GET", "/api/v1/stats", headers=headers) == self.STATS

    @pytest.mark.parametrize(
        ("headers", "status"),
        [({}, 401), ({"X-API-Key": "wrong"}, 401), (bearer("forged"), 401), (bearer("reader-token"), 403)],
    )
    async def test_unauthorised(self, served: Served, headers: dict[str, str], status: int) -> None:
        assert (await served.ask("GET", "/api/v1/stats", headers=headers))[0] == status


class TestMetrics:
    ACCEPT: ClassVar[dict[str, str]] = {"Accept": "application/openmetrics-text; version=1.0.0"}

    @pytest.mark.parametrize(
        ("accept", "content_type"),
        [({}, exposition.TEXT), (ACCEPT, exposition.OPENMETRICS), ({"Accept": "*/*"}, exposition.TEXT)],
    )
    async def test_the_format_that_is_asked_for(
        self, served: Served, accept: dict[str, str], content_type: str
    ) -> None:
        url = f"http://127.0.0.1:{served.api.port}/metrics"
        async with served.session.get(url, headers=WITH_KEY | accept) as response:
            assert response.status == 200
            assert response.headers.getall("Content-Type") == [content_type]
            assert response.headers["Cache-Control"] == "no-store"
            body = await response.read()
        assert body == exposition.render(NOTHING, openmetrics=content_type == exposition.OPENMETRICS)
        async with served.session.head(url, headers=WITH_KEY) as response:
            assert (response.status, await response.read()) == (200, b"")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [({}, 401), ({"X-API-Key": "wrong"}, 401), (bearer("forged"), 401), (bearer("reader-token"), 403)],
    )
    async def test_unauthorised(self, served: Served, headers: dict[str, str], status: int) -> None:
        assert (await served.ask("GET", "/metrics", headers=headers))[0] == status

    @pytest.mark.parametrize("token", ["monitor-token", "telemetry-token"])
    async def test_who_may_read_the_figures_may_read_them_here(self, served: Served, token: str) -> None:
        url = f"http://127.0.0.1:{served.api.port}/metrics"
        async with served.session.get(url, headers=bearer(token)) as response:
            assert response.status == 200


class TestRequestIds:
    async def test_an_answer_has_the_id_of_its_request(self, served: Served) -> None:
        url = f"http://127.0.0.1:{served.api.port}"
        for path, status in (("/health/live", 200), ("/nothing", 404), ("/api/v1/stats", 401)):
            async with served.session.get(url + path, headers={"X-Request-ID": "a1-b2/c3"}) as response:
                assert (response.status, response.headers.getall("X-Request-ID")) == (status, ["a1-b2/c3"])
            async with served.session.get(url + path) as response:
                assert "X-Request-ID" not in response.headers

    async def test_what_is_unsafe_in_it_is_left_out(self, served: Served) -> None:
        for sent, told in ((b"a\tb <\xff\xe2\x80\xae>;c", b"abc"), (b"x" * 4000, b"x" * MAX_ID), (b'"%{}', None)):
            head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-ID: "
            answer = await served.raw(head + sent + b"\r\n\r\n")
            head = answer.partition(b"\r\n\r\n")[0]
            found = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"X-Request-ID")]
            assert found == ([] if told is None else [told])


class TestAuthorisation:
    @pytest.mark.parametrize(
        "headers",
        [
            WITH_KEY,
            bearer("writer-token"),
            {"Authorization": "bearer  writer-token "},
            WITH_KEY | bearer("forged"),
        ],
    )
    async def test_accepted(self, served: Served, headers: dict[str, str]) -> None:
        status, answer = await served.publish(telemetry(), headers)
        assert (status, answer["accepted"]) == (200, 1)

    @pytest.mark.parametrize(
        ("headers", "error"),
        [
            ({}, "not_authenticated"),
            ({"Authorization": "Basic dTpw"}, "not_authenticated"),
            ({"Authorization": "writer-token"}, "not_authenticated"),
            ({"X-API-Key": ""}, "invalid_token"),
            ({"X-API-Key": KEY[:-1]}, "invalid_token"),
            ({"X-API-Key": KEY + "x"}, "invalid_token"),
            ({"X-API-Key": "schlüssel"}, "invalid_token"),
            ({"X-API-Key": "wrong"} | bearer("writer-token"), "invalid_token"),
            (bearer(""), "invalid_token"),
            (bearer("forged"), "invalid_token"),
            (bearer("expired-token"), "token_expired"),
        ],
    )
    async def test_refused(self, served: Served, headers: dict[str, str], error: str) -> None:
        url = f"http://127.0.0.1:{served.api.port}/api/v1/publish"
        async with served.session.post(url, json=telemetry(), headers=headers) as response:
            assert response.status == 401
            assert response.headers["Connection"] == "close"
            challenge = response.headers["WWW-Authenticate"]
            answer = await response.json()
        assert challenge.startswith('Bearer realm="valtronics-fast"')
        assert challenge.endswith('error="invalid_token"') == (error != "not_authenticated")
        assert answer["error"] == error
        assert served.hub.messages == []

    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": KEY}])
    async def test_an_empty_key_authorises_nobody(self, serve: Serve, headers: dict[str, str]) -> None:
        served = await serve(api_key="")
        assert (await served.publish(telemetry(), headers))[0] == 401

    async def test_a_key_beyond_ascii(self, serve: Serve) -> None:
        served = await serve(api_key="schlüssel")
        assert (await served.publish(telemetry(), {"X-API-Key": "schlüssel"}))[0] == 200
        latin = b"POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: schl\xfcssel\r\n\r\n"
        assert (await served.raw(latin)).startswith(b"HTTP/1.1 401 ")

    async def test_a_verifier_that_waits(self, serve: Serve) -> None:
        async def verify_later(token: object) -> Grant:
            await asyncio.sleep(0)
            return verify(token)

        served = await serve(verify=verify_later)
        assert (await served.publish(telemetry(), bearer("writer-token")))[0] == 200
        assert (await served.publish(telemetry(), bearer("forged")))[0] == 401

    @pytest.mark.parametrize("headers", [bearer("reader-token"), bearer("admin-token"), WITH_ADMIN_KEY])
    async def test_who_may_not_publish(self, served: Served, headers: dict[str, str]) -> None:
        status, answer = await served.publish(telemetry(), headers)
        assert (status, answer["error"]) == (403, "forbidden")

    @pytest.mark.parametrize("token", ["telemetry-token", "device-token"])
    async def test_the_scope_of_a_token(self, served: Served, token: str) -> None:
        allowed = telemetry("1")
        refused = telemetry(2) if token == "device-token" else {"type": "alert", "device_id": 1}
        status, answer = await served.publish({"messages": [allowed, refused]}, bearer(token))
        assert (status, answer["accepted"]) == (200, 1)
        assert [(r["index"], r["error"]) for r in answer["rejected"]] == [(1, "forbidden")]
        assert served.hub.messages == [allowed]
        assert (await served.publish(refused, bearer(token)))[0] == 422


class TestLifetime:
    async def test_a_taken_port(self, served: Served) -> None:
        config = HttpConfig(host="127.0.0.1", port=served.api.port)
        second = HttpApi(
            config,
            outlet=served.hub,
            guard=served.guard,
            site=served.site,
        )
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.stop()

    async def test_stop_ends_everything(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        await served.api.stop()
        monkeypatch.setattr(http_api, "SHUTDOWN_TIMEOUT", 0.05)
        await served.api.start()
        idle, idle_writer = await served.connect()
        busy, busy_writer = await served.connect()
        busy_writer.write(HALF_A_STREAM)
        await served.hub.arrived.wait()
        await served.api.stop()
        await served.api.stop()
        assert await idle.read() == b""
        assert await busy.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await served.connect()
        idle_writer.close()
        busy_writer.close()


    async def test_a_publisher_that_does_not_go_on_holds_nobody_up(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_api, "PUBLISH_TIMEOUT", 0.05)
        reader, writer = await served.connect()
        writer.write(HALF_A_BODY)
        assert b" 100 " in await reader.readline()
        async with asyncio.timeout(TIMEOUT):
            await served.api.end_publishing()
        writer.close()


class TestSecrets:
    async def test_no_token_in_any_log(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        """Not at debug, not in a traceback, whether the token is good, bad or breaks the verifier."""
        caplog.set_level(logging.DEBUG)
        tokens = [*GRANTS, "expired-token", "broken-token", "forged", KEY, KEY + "x"]
        for token in tokens:
            for headers in (bearer(token), {"X-API-Key": token}, {"Authorization": f"Basic {token}"}):
                for body in (telemetry(), telemetry(bad=True), telemetry(fatal=True), b"{"):
                    await served.publish(body, headers)
                await served.ask("GET", f"/api/v1/stats?token={token}", headers=headers)
                await served.ask("GET", f"/nothing/{token}", headers=headers)
        assert "verifying a token failed: ValueError" in caplog.text
        assert served.statistics.http_auth_failures["bad_signature"] > 10
        assert [token for token in tokens if token in caplog.text] == []
