from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from harness import UPGRADE, configuration, running
from valtronics_fast._core.hub import Hub
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.session import Session
from valtronics_fast._core.wire import Channel
from valtronics_fast.auth import Authenticator
from valtronics_fast.backplanes.memory import MemoryBackplane
from valtronics_fast.clients import Clients
from valtronics_fast.errors import AuthError
from valtronics_fast.gate import RETRY_WHEN_FULL, TLS_FACTOR, ServerGate
from valtronics_fast.handshake import Policy, Upgrade, negotiate, parse_request
from valtronics_fast.origins import Origins
from valtronics_fast.refusals import Reason, Refusal
from valtronics_fast.room import OwnRoom
from valtronics_fast.statistics import Statistics
from valtronics_fast.suspects import Suspects
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS = "192.0.2.1"
ALICE = Grant("alice", 2e9)


def make_gate(*, demo: bool = False, **limits: object) -> tuple[ServerGate, Clients]:
    sections: Mapping[str, Mapping[str, object]] = {"limits": limits}
    config = configuration(demo=demo, **sections)
    hub = Hub(lambda function: function(), time.monotonic())
    suspects = Suspects(config.security)
    clients = Clients(
        config,
        hub,
        Authenticator(config.auth),
        Statistics(),
        publish=hub.publish,
        follow=MemoryBackplane().follow,
        suspects=suspects,
        room=OwnRoom(),
        elsewhere=lambda _: 0,
    )
    return ServerGate(config, clients), clients


def upgrade(path: str = "/ws", **headers: str) -> Upgrade:
    fields = {"Host": "x", **UPGRADE, **headers}
    head = "\r\n".join([f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())])
    return negotiate(parse_request(head.encode()), Policy(Origins(())))


def reason(refusal: Refusal | None) -> Reason | None:
    return refusal.reason if refusal is not None else None


def retry_after(refusal: Refusal | None) -> int:
    assert refusal is not None
    return int(dict(refusal.headers)["Retry-After"])


def test_who_comes_while_there_is_room_gets_in() -> None:
    gate, _ = make_gate()
    assert gate.refuse_early(upgrade(), ADDRESS) is None


def test_nobody_gets_in_when_the_gate_is_shut() -> None:
    gate, _ = make_gate()
    gate.open = False
    refusal = gate.refuse_early(upgrade(), ADDRESS)
    assert reason(refusal) is Reason.SHUTTING_DOWN
    assert retry_after(refusal) == RETRY_WHEN_FULL


def test_who_comes_to_a_gate_that_is_shut_is_not_counted() -> None:
    gate, _ = make_gate(connection_rate="1/h")
    gate.open = False
    assert [reason(gate.refuse_early(upgrade(), ADDRESS)) for _ in range(3)] == [Reason.SHUTTING_DOWN] * 3


def test_nobody_gets_in_while_the_process_is_short_of_memory() -> None:
    gate, _ = make_gate()
    gate.hold(True)
    refusal = gate.refuse_early(upgrade(), ADDRESS)
    assert reason(refusal) is Reason.MEMORY
    assert retry_after(refusal) == RETRY_WHEN_FULL
    with pytest.raises(Refusal) as caught:
        gate.open_session(upgrade(), ADDRESS, ALICE)
    assert caught.value.reason is Reason.MEMORY
    gate.hold(False)
    assert gate.refuse_early(upgrade(), ADDRESS) is None


def test_who_was_being_judged_does_not_get_in_when_it_is_shut() -> None:
    gate, _ = make_gate()
    gate.open = False
    with pytest.raises(Refusal) as caught:
        gate.open_session(upgrade(), ADDRESS, ALICE)
    assert caught.value.reason is Reason.SHUTTING_DOWN


def test_other_limits_hold_from_then_on_and_what_was_counted_stays() -> None:
    gate, clients = make_gate(connection_rate="2/h")
    assert clients.room.enter(0)
    assert clients.room.enter(0)
    assert gate.refuse_early(upgrade(), ADDRESS) is None
    gate.reload(configuration(limits={"connection_rate": "2/h", "connections": 2}))
    assert reason(gate.refuse_early(upgrade(), ADDRESS)) is Reason.SERVER_FULL
    assert reason(gate.refuse_early(upgrade(), ADDRESS)) is Reason.ADDRESS_RATE
    gate.reload(configuration(limits={"connection_rate": "1/h"}))
    assert [reason(gate.refuse_early(upgrade(), ADDRESS)) for _ in range(2)] == [None, Reason.ADDRESS_RATE]


def test_a_full_server_says_when_to_come_again() -> None:
    gate, clients = make_gate(connections=2)
    assert clients.room.enter(2)
    assert gate.refuse_early(upgrade(), ADDRESS) is None
    assert clients.room.enter(2)
    refusal = gate.refuse_early(upgrade(), ADDRESS)
    assert reason(refusal) is Reason.SERVER_FULL
    assert retry_after(refusal) == RETRY_WHEN_FULL


def test_others_may_be_faster_while_a_token_is_verified() -> None:
    gate, clients = make_gate(connections=2)
    assert clients.room.enter(2)
    assert clients.room.enter(2)
    with pytest.raises(Refusal) as caught:
        gate.open_session(upgrade(), ADDRESS, ALICE)
    assert caught.value.reason is Reason.SERVER_FULL


def test_each_source_has_a_rate_of_its_own() -> None:
    gate, _ = make_gate(connection_rate="2/h")
    for address in (ADDRESS, "2001:db8::1"):
        assert gate.refuse_early(upgrade(), address) is None
        assert gate.refuse_early(upgrade(), address) is None
        refusal = gate.refuse_early(upgrade(), address)
        assert reason(refusal) is Reason.ADDRESS_RATE
        assert 1 <= retry_after(refusal) <= 1800
    assert reason(gate.refuse_early(upgrade(), "2001:db8::2")) is Reason.ADDRESS_RATE
    assert gate.refuse_early(upgrade(), "2001:db8:0:1::1") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_a_demo_does_not_count_loopback(address: str) -> None:
    gate, _ = make_gate(demo=True, connection_rate="1/h")
    assert [gate.refuse_early(upgrade(), address) for _ in range(20)] == [None] * 20


@pytest.mark.parametrize("address", [ADDRESS, "unknown"])
def test_a_demo_counts_everybody_else(address: str) -> None:
    gate, _ = make_gate(demo=True, connection_rate="1/h")
    assert gate.refuse_early(upgrade(), address) is None
    assert reason(gate.refuse_early(upgrade(), address)) is Reason.ADDRESS_RATE


def test_otherwise_loopback_is_a_source_like_any_other() -> None:
    gate, _ = make_gate(connection_rate="1/h")
    assert gate.refuse_early(upgrade(), "127.0.0.1") is None
    assert reason(gate.refuse_early(upgrade(), "127.0.0.1")) is Reason.ADDRESS_RATE


def test_a_handshake_without_a_token_permits_nothing_yet() -> None:
    gate, _ = make_gate()
    assert gate.authenticate(upgrade(), ADDRESS) is None


def test_a_token_of_the_handshake_is_verified() -> None:
    gate, _ = make_gate()
    token = mint(configuration().auth, "alice", channels=["alerts"])
    grant: Any = gate.authenticate(upgrade(Authorization=f"Bearer {token}"), ADDRESS)
    assert (grant.user, grant.channels) == ("alice", 1 << Channel.ALERTS)
    with pytest.raises(AuthError):
        gate.authenticate(upgrade(Authorization="Bearer x.y.z"), ADDRESS)


def test_a_session_knows_its_endpoint_and_its_address() -> None:
    gate, _ = make_gate()
    session = gate.open_session(upgrade("/ws/alerts"), ADDRESS, None)
    assert isinstance(session, Session)
    assert (session.endpoint, session.address, session.user) == (Channel.ALERTS, ADDRESS, None)
    assert gate.open_session(upgrade("/ws/"), ADDRESS, None).endpoint == -1


def test_a_user_without_room_is_told_so_before_the_upgrade() -> None:
    gate, clients = make_gate(connections_per_user=1)
    session = gate.open_session(upgrade(), ADDRESS, ALICE)
    assert clients.join(session, "alice")
    with pytest.raises(Refusal) as caught:
        gate.open_session(upgrade(), ADDRESS, ALICE)
    assert caught.value.reason is Reason.USER_CONNECTIONS
    assert retry_after(caught.value) == RETRY_WHEN_FULL
    gate.open_session(upgrade(), ADDRESS, Grant("bob", 2e9))


def test_tls_handshakes_have_a_higher_rate_than_connections() -> None:
    gate, _ = make_gate(connection_rate="2/h")
    assert [gate.permits_tls(ADDRESS) for _ in range(2 * TLS_FACTOR + 1)] == [True] * 2 * TLS_FACTOR + [False]
    assert gate.refuse_early(upgrade(), ADDRESS) is None  # that is another count
    assert gate.permits_tls("192.0.2.2")


def test_without_a_rate_there_is_none_for_tls() -> None:
    gate, _ = make_gate(connection_rate=0)
    assert all(gate.permits_tls(ADDRESS) for _ in range(1000))


def test_loopback_in_a_demo_may_begin_as_many_handshakes_as_it_likes() -> None:
    for demo in (True, False):
        gate, _ = make_gate(demo=demo, connection_rate="1/h")
        assert all(gate.permits_tls("127.0.0.1") for _ in range(100)) == demo


def test_a_trusted_proxy_begins_handshakes_for_many() -> None:
    config = configuration(limits={"connection_rate": "1/h"}, security={"trusted_proxies": ["192.0.2.0/24"]})
    _, clients = make_gate()
    gate = ServerGate(config, clients)
    assert all(gate.permits_tls(ADDRESS) for _ in range(100))
    assert not all(gate.permits_tls("198.51.100.1") for _ in range(100))


async def test_a_demo_lets_a_dashboard_reconnect_as_often_as_it_likes() -> None:
    async with running(demo=True, limits={"connection_rate": "1/h"}) as site:
        for _ in range(3):
            async with site.client("/ws/telemetry") as client:
                assert (await client.receive())["type"] == "telemetry_update"
