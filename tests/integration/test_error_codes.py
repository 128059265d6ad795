"""Every error code of the registry, provoked through a real socket (protocol.md, section 5)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harness import TIMEOUT, Client, Message, Site, running, text
from valtronics_fast._core.wire import ERROR_NAMES, CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PING = '{"type":"ping"}'
UNSUBSCRIBE = '{"type":"unsubscribe","channel":"telemetry"}'


async def connected(site: Site, client: Client) -> None:
    """Do nothing: the client is connected and not authenticated."""


async def authenticated(site: Site, client: Client) -> None:
    await client.authenticate(site.token())


async def publishing(site: Site, client: Client) -> None:
    await client.authenticate(site.token(publish=True))


async def expired(site: Site, client: Client) -> None:
    """Authenticate with a token that is over, and wait until the server has noticed."""
    await client.authenticate(site.token(expires=60, now=time.time() - 61))
    async with asyncio.timeout(TIMEOUT):
        while (await client.ask(type="unsubscribe", channel="telemetry"))["error"] == "not_subscribed":
            await asyncio.sleep(0.02)


async def broken(site: Site, client: Client) -> None:
    """Take a part away that the server can't publish without."""
    await publishing(site, client)
    await site.server._backplane.stop()


@dataclass
class Case:
    """What provokes an error.

    Attributes:
        inputs: messages, each of which is answered with it.
        prepare: what is done before the first of them.
        path: the endpoint.
        limits: settings of that section.
        kind: the type of the answer.
    """

    inputs: list[str]
    prepare: Callable[[Site, Client], Awaitable[None]] = authenticated
    path: str = "/ws"
    limits: dict[str, object] = field(default_factory=dict)
    kind: str = "error"


def subscribe(members: str) -> str:
    """Return a subscription to telemetry with more members, as JSON."""
    return f'{{"type":"subscribe","channel":"telemetry",{members}}}'


CASES = {
    "invalid_json": Case(
        ["", " ", "{", "ping", PING + "x", "\ufeff" + PING, '{"type":NaN}', '{"a":1e400}', r'{"a":"\ud800"}'],
        connected,
    ),
    "invalid_message": Case(
        [
            "[]", "null", '"ping"', "7", '{"type":7}', '{"type":null}',
            '{"type":"ping","id":[]}', '{"type":"ping","id":1.5}', '{"type":"ping","id":true}',
            '{"type":"ping","id":9223372036854775808}', f'{{"type":"ping","id":"{"x" * 65}"}}',
            '{"type":"ping","x":' + "[" * 16 + "]" * 16 + "}",
            '{"type":"subscribe"}', '{"type":"subscribe","channel":7}', '{"type":"unsubscribe"}',
            '{"type":"batch"}', '{"type":"batch","messages":{}}', '{"type":"batch","messages":[7]}',
        ],
    ),
    "unknown_type": Case(['{"type":"hello"}', '{"type":"PING"}', '{"type":""}', '{"type":"pong"}'], connected),
    "missing_type": Case(["{}", '{"channel":"telemetry"}'], connected),
    "unknown_channel": Case(['{"type":"subscribe","channel":"weather"}', '{"type":"unsubscribe","channel":""}']),
    "channel_not_allowed": Case(['{"type":"subscribe","channel":"alerts"}'], path="/ws/telemetry"),
    "invalid_filter": Case(
        [
            subscribe('"filters":7'), subscribe('"filters":{"device":1}'), subscribe('"filters":{"severity":"x"}'),
            subscribe('"device_id":[]'), subscribe('"device_id":1.5'), subscribe('"device_id":""'),
            subscribe('"device_id":9223372036854775808'), subscribe(f'"device_id":"{"x" * 65}"'),
            subscribe('"metrics":[]'), subscribe('"metrics":[7]'), subscribe('"frequency":"often"'),
            '{"type":"subscribe","channel":"alerts","frequency":"1s"}',
            '{"type":"subscribe","channel":"devices","filters":{"frequency":"real-time"}}',
            '{"type":"unsubscribe","channel":"telemetry","device_id":[[]]}',
        ],
    ),
    "not_authenticated": Case([UNSUBSCRIBE, '{"type":"error_report"}'], connected),
    "forbidden": Case(['{"type":"publish","message":{"type":"alert","severity":"info"}}']),
    "not_subscribed": Case([UNSUBSCRIBE]),
    "rate_limited": Case([PING], limits={"messages_per_second": 1}),
    "message_too_large": Case([f'{{"type":"ping","x":"{"x" * 1024}"}}']),
    "batch_too_large": Case(['{"type":"batch","messages":[' + ",".join([PING] * 51) + "]}"]),
    "too_many_subscriptions": Case([subscribe('"device_id":1')] * 2, limits={"subscriptions": 1}),
    "invalid_token": Case(['{"type":"auth","token":"x"}', '{"type":"auth"}'], connected, kind="auth_response"),
    "token_expired": Case([UNSUBSCRIBE], expired),
    "too_many_connections": Case([], connected, limits={"connections_per_user": 1}, kind="auth_response"),
    "internal": Case(['{"type":"publish","message":{"type":"alert","severity":"info"}}'] * 2, broken),
}  # fmt: skip


def test_there_is_a_case_for_every_code() -> None:
    assert set(CASES) == set(ERROR_NAMES.values())


async def next_error(client: Client) -> Message:
    """Return the next message that is no success."""
    while "error" not in (message := await client.receive()):
        pass
    return message


def check(answer: Message, name: str, kind: str) -> None:
    assert (answer["type"], answer["error"]) == (kind, name)
    assert isinstance(answer["message"], str)
    assert answer["message"]
    assert answer.keys() <= {"type", "success", "error", "message", "id", "channel", "retry_after"}


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].inputs])
async def test_bad_input_is_answered_with_it_and_the_connection_lives_on(name: str) -> None:
    case = CASES[name]
    async with running(limits=case.limits) as site, site.connect(case.path) as client:
        await case.prepare(site, client)
        if name == "too_many_subscriptions":
            await client.connection.send('{"type":"subscribe","channel":"telemetry"}')
        for data in case.inputs:
            # Many at once go over a rate for sure, however long this takes.
            client.write(*[text(data)] * (1 if name != "rate_limited" else 20))
            check(await next_error(client), name, case.kind)
        await client.served_again()


async def test_too_many_connections_is_the_one_code_that_ends_the_connection() -> None:
    limits = CASES["too_many_connections"].limits
    async with running(limits=limits) as site, site.client(), site.connect() as client:
        check(await client.ask(type="auth", token=site.token()), "too_many_connections", "auth_response")
        assert (await client.closed())[0] == CloseCode.CLOSE_TOO_MANY_CONNECTIONS


@pytest.mark.parametrize("id", ["x" * 64, "", -(2**63), 2**63 - 1, 0], ids=["long", "empty", "least", "most", "0"])
async def test_an_error_echoes_the_id_of_its_command(id: str | int) -> None:  # noqa: A002 - the wire's name
    async with running() as site, site.client() as client:
        answer = await client.fails("not_subscribed", type="unsubscribe", channel="alerts", id=id)
        assert answer["id"] == id
        assert answer["channel"] == "alerts"


async def test_an_error_says_when_to_come_again() -> None:
    async with running(limits=CASES["rate_limited"].limits) as site, site.client() as client:
        client.write(*[text(PING)] * 20)
        assert 0 < (await next_error(client))["retry_after"] <= 1
