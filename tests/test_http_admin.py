"""The admin functions over HTTP: who may, what is asked for, what is answered, and what the log tells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from http_served import (
    ADMIN_KEY,
    WITH_ADMIN_KEY,
    WITH_KEY,
    Serve,
    Served,
    bearer,
    serving,
)
from valtronics_fast.http_operations import OPERATIONS
from valtronics_fast.http_rebalance import MAX_BODY
from valtronics_fast.inspection import Query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIST = "/api/v1/connections"
DISCONNECT = "/api/v1/disconnect"
ADMIN = [(one.method, one.path.replace("{id}", "7")) for one in OPERATIONS if one.needs == "admin"]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


class TestAuthorisation:
    @pytest.mark.parametrize(("method", "path"), ADMIN)
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 401),
            ({"X-API-Key": ADMIN_KEY + "x"}, 401),
            ({"X-API-Key": ADMIN_KEY[:-1]}, 401),
            (bearer("forged"), 401),
            (bearer("expired-token"), 401),
            (WITH_KEY, 403),
            (bearer("reader-token"), 403),
            (bearer("writer-token"), 403),
        ],
    )
    async def test_nobody_else(
        self, served: Served, method: str, path: str, headers: dict[str, str], status: int
    ) -> None:
        assert (await served.ask(method, path, headers=headers))[0] == status
        assert (served.site.queries, served.site.orders) == ([], [])

    @pytest.mark.parametrize("headers", [WITH_ADMIN_KEY, bearer("admin-token"), WITH_ADMIN_KEY | bearer("forged")])
    async def test_administrators(self, served: Served, headers: dict[str, str]) -> None:
        assert (await served.ask("GET", LIST, headers=headers))[0] == 200

    @pytest.mark.parametrize(("method", "path"), ADMIN)
    async def test_without_any_credential_that_opens_them_they_are_off(
        self, serve: Serve, method: str, path: str
    ) -> None:
        served = await serve(api_key="", admin_key="")
        served.guard.admin_tokens = False
        for headers in ({}, {"X-API-Key": ""}, bearer("admin-token")):
            status, answer = await served.ask(method, path, headers=headers)
            assert (status, answer["error"]) == (403, "forbidden")
            assert "off" in answer["message"]

    async def test_the_key_alone_turns_them_on(self, serve: Serve) -> None:
        served = await serve()
        served.guard.admin_tokens = False
        assert (await served.ask("GET", LIST, headers=WITH_ADMIN_KEY))[0] == 200

    async def test_tokens_alone_turn_them_on(self, serve: Serve) -> None:
        served = await serve(admin_key="")
        assert (await served.ask("GET", LIST, headers={"X-API-Key": ""}))[0] == 401
        assert (await served.ask("GET", LIST, headers=bearer("admin-token")))[0] == 200


class TestLog:
    @staticmethod
    def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
        return [{"said": each.getMessage(), **getattr(each, "fields", {})} for each in caplog.records]

    async def test_who_has_ordered_what_from_where(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "valtronics_fast")
        await served.ask("POST", DISCONNECT, json={"user": "bob", "reason": "go"}, headers=WITH_ADMIN_KEY)
        await served.ask("DELETE", f"{LIST}/8", headers=bearer("admin-token"))
        by_key = {"credential": "key", "user": "admin-key", "address": "127.0.0.1", "action": "disconnect"}
        by_token = {"credential": "token", "user": "root", "address": "127.0.0.1", "action": "disconnect"}
        assert self.lines(caplog) == [
            {"said": "admin", **by_key, "whose": "bob", "reason": "go", "connections": 3},
            {"said": "an admin request failed", **by_token, "outcome": "there is no such connection (any more)"},
        ]
        assert ADMIN_KEY not in caplog.text

    async def test_who_was_refused(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        await served.ask("POST", DISCONNECT, json={"user": "bob"}, headers=bearer("writer-token"))
        assert self.lines(caplog) == [{"said": "an admin function was refused", "user": "w", "address": "127.0.0.1"}]

    async def test_orders_are_logged_without_a_limit_and_questions_are_not(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "valtronics_fast")
        for _ in range(30):
            await served.ask("POST", "/api/v1/drain", headers=WITH_ADMIN_KEY)
            await served.ask("GET", LIST, headers=WITH_ADMIN_KEY)
        actions = [line.get("action") for line in self.lines(caplog)]
        assert actions.count("drain") == 30
        assert 0 < actions.count("list connections") < 30

    async def test_a_fault_of_the_server_is_logged_with_who_met_it(
        self, served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise ZeroDivisionError("inner detail")

        monkeypatch.setattr(served.site, "drain", fail)
        assert (await served.ask("POST", "/api/v1/drain", headers=WITH_ADMIN_KEY))[0] == 500
        assert self.lines(caplog)[0]["outcome"] == "internal error"


class TestConnections:
    async def test_pages(self, served: Served) -> None:
        found: list[int] = []
        cursor = ""
        while cursor is not None:
            path = f"{LIST}?limit=40" + (f"&cursor={cursor}" if cursor else "")
            status, answer = await served.ask("GET", path, headers=WITH_ADMIN_KEY)
            assert status == 200
            found += [each["id"] for each in answer["connections"]]
            cursor = answer["next"]
        assert found == [each for each in range(1, 101) if each != 8]
        assert [query.limit for query in served.site.queries] == [41, 41, 41]
        assert [query.after for query in served.site.queries] == [None, (0.5, 41), (0.5, 81)]

    async def test_filters(self, served: Served) -> None:
        query = "user=b%C3%B6b&address=::ffff:192.0.2.1&channel=alerts&slow=true&sort=rate&limit=5"
        assert (await served.ask("GET", f"{LIST}?{query}", headers=WITH_ADMIN_KEY))[0] == 200
        assert served.site.queries == [
            Query(user="böb", address="192.0.2.1", channel=1, slow=True, sort="rate", limit=6)
        ]

    @pytest.mark.parametrize(
        "query",
        [
            "usr=bob", "user=", "user=a&user=b", "address=x", "address=fe80::1%25eth0", "channel=x", "slow=1",
            "sort=user", "limit=0", "limit=1001", "limit=x", "limit=1.5", "limit=%D9%A7", "limit=" + "9" * 30,
            "cursor=x", "cursor=0x1.0p1_", "cursor=0x1.0p1_1%0A", "cursor=nan_1",
        ],
    )  # fmt: skip
    async def test_what_is_no_query(self, served: Served, query: str) -> None:
        status, answer = await served.ask("GET", f"{LIST}?{query}", headers=WITH_ADMIN_KEY)
        assert (status, answer["error"]) == (400, "invalid_message")
        assert served.site.queries == []

    async def test_a_limit_of_thousands_of_digits(self, served: Served) -> None:
        assert (await served.ask("GET", f"{LIST}?limit={'0' * 4400}1", headers=WITH_ADMIN_KEY))[0] == 400

    async def test_one(self, served: Served) -> None:
        assert await served.ask("GET", f"{LIST}/7", headers=WITH_ADMIN_KEY) == (200, {"id": 7})
        assert await served.ask("GET", f"{LIST}/7/", headers=WITH_ADMIN_KEY) == (200, {"id": 7})

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    @pytest.mark.parametrize(
        ("name", "status"), [("8", 404), ("0", 404), ("x", 400), ("-7", 400), ("%D9%A7", 400), ("9" * 19, 400)]
    )
    async def test_none(self, served: Served, method: str, name: str, status: int) -> None:
        assert (await served.ask(method, f"{LIST}/{name}", headers=WITH_ADMIN_KEY))[0] == status

    async def test_methods(self, served: Served) -> None:
        url = f"http://127.0.0.1:{served.api.port}{LIST}/7"
        async with served.session.put(url) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, DELETE")


async def test_number_0_is_nobody(served: Served) -> None:
    """And not everybody, which it would be in a query."""
    for method in ("GET", "DELETE"):
        assert (await served.ask(method, f"{LIST}/0", headers=WITH_ADMIN_KEY))[0] == 404
    assert (served.site.queries, served.site.orders) == ([], [])


class TestDisconnect:
    async def test_one(self, served: Served) -> None:
        answer = await served.ask("DELETE", f"{LIST}/7?reason=go+away", headers=WITH_ADMIN_KEY)
        assert answer == (200, {"connections": 1, "silent_workers": []})
        assert served.site.orders == [(7, "go away")]
        assert (await served.ask("DELETE", f"{LIST}/7?reasn=go", headers=WITH_ADMIN_KEY))[0] == 400
        assert (await served.ask("DELETE", f"{LIST}/7?reason={'x' * 124}", headers=WITH_ADMIN_KEY))[0] == 400

    async def test_a_user(self, served: Served) -> None:
        for user, count in (("bob", 3), ("eve", 0)):
            answer = await served.ask("POST", DISCONNECT, json={"user": user}, headers=WITH_ADMIN_KEY)
            assert answer == (200, {"connections": count, "silent_workers": []})
        assert served.site.orders == [("bob", None), ("eve", None)]

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[]", b"{}", b"\xff", b'{"user": ""}', b'{"user": 7}', b'{"user": null}', b'{"reason": "x"}',
            b'{"user": "a", "reason": ""}', b'{"user": "' + b"a" * 257 + b'"}',
            b'{"user": "a", "reason": "' + b"x" * 124 + b'"}', b'{"user": "a", "x": 1}',
        ],
    )  # fmt: skip
    async def test_what_is_no_order(self, served: Served, body: bytes) -> None:
        status, answer = await served.ask("POST", DISCONNECT, data=body, headers=WITH_ADMIN_KEY)
        assert (status, answer["error"]) == (400, "invalid_message")
        assert served.site.orders == []

    async def test_an_order_is_short(self, served: Served) -> None:
        body = b'{"user": "bob"}'
        for size, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
            assert (await served.ask("POST", DISCONNECT, data=body.ljust(size), headers=WITH_ADMIN_KEY))[0] == status


async def test_drain(served: Served) -> None:
    assert await served.ask("POST", "/api/v1/drain", headers=WITH_ADMIN_KEY) == (202, {"status": "draining"})
    assert served.site.orders == ["drain"]


class TestExplain:
    PATH = "/api/v1/explain?connection=7"

    @pytest.mark.parametrize(
        ("query", "device"), [("", None), ("&device=12", 12), ("&device=pump%201", "pump 1"), ("&device=012", "012")]
    )
    async def test_a_connection_and_a_device(self, served: Served, query: str, device: object) -> None:
        answer = await served.ask("GET", self.PATH + query, headers=WITH_ADMIN_KEY)
        assert answer == (200, {"connection": 7, "device_id": device})

    @pytest.mark.parametrize(
        ("query", "status", "error"),
        [
            ("", 400, "invalid_message"),
            ("?connection=x", 400, "invalid_message"),
            ("?connection=-7", 400, "invalid_message"),
            ("?connection=%D9%A7", 400, "invalid_message"),
            ("?connection=" + "9" * 30, 400, "invalid_message"),
            ("?connection=7&device=", 400, "invalid_message"),
            ("?connection=7&device=" + "x" * 65, 400, "invalid_message"),
            ("?connection=7&device=1&device=2", 400, "invalid_message"),
            ("?connection=7&device=" + "%C3%A9" * 40, 400, "invalid_message"),
            ("?connection=7&device=%00", 400, "invalid_message"),
            ("?connection=7&devise=1", 400, "invalid_message"),
            ("?connection=8&device=1", 404, "not_found"),
        ],
    )
    async def test_what_is_no_question(self, served: Served, query: str, status: int, error: str) -> None:
        got, answer = await served.ask("GET", "/api/v1/explain" + query, headers=WITH_ADMIN_KEY)
        assert (got, answer["error"]) == (status, error)


class TestRebalance:
    PATH = "/api/v1/rebalance"

    async def test_an_order(self, served: Served) -> None:
        answer = await served.ask("POST", self.PATH, json={"fraction": 0.2}, headers=WITH_ADMIN_KEY)
        assert answer == (202, {"connections": 20})

    async def test_an_order_is_short(self, served: Served) -> None:
        body = b'{"count": 1}'
        for size, status in ((MAX_BODY, 202), (MAX_BODY + 1, 413)):
            assert (await served.ask("POST", self.PATH, data=body.ljust(size), headers=WITH_ADMIN_KEY))[0] == status

    async def test_one_at_a_time(self, served: Served) -> None:
        status, answer = await served.ask("POST", self.PATH, json={"count": 1, "over": 0.5}, headers=WITH_ADMIN_KEY)
        assert (status, answer["error"]) == (409, "busy")
