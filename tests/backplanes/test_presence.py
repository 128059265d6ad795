from __future__ import annotations

from harness import configuration, running
from valtronics_fast import Server
from valtronics_fast.backplanes.members import Heartbeat
from valtronics_fast.backplanes.presence import Presence, connections_elsewhere
from workers.machine import sites


def test_a_user_is_counted_over_all_other_machines() -> None:
    heartbeats = [
        Heartbeat(node=1, number=5, users={"a": 2, "b": 1}),
        Heartbeat(node=2, number=5, users={"a": 3}, machine=7),
        Heartbeat(node=3, number=5, users={"a": 4}, machine=8),
    ]
    assert connections_elsewhere("a", heartbeats, 0) == 9
    assert connections_elsewhere("a", heartbeats, 7) == 6
    assert connections_elsewhere("nobody", heartbeats, 7) == 0
    assert connections_elsewhere("a", [], 0) == 0


async def test_a_server_tells_who_is_connected() -> None:
    async with running() as site, site.client(user="alice"), site.client(user="alice"), site.client(user="bob"):
        assert site.server._clients.presence(0) == Presence(3, {"alice": 2, "bob": 1}, 0)


async def test_users_are_told_only_where_they_are_counted() -> None:
    async with running(limits={"connections_per_user": 0}) as site, site.client():
        assert site.server._clients.presence(0) == Presence(1, {}, 0)


async def test_the_workers_of_a_machine_are_no_other_machine() -> None:
    async with sites() as (_, (one, two)), one.client():
        assert two.server._backplane.connections_elsewhere("alice") == 0
        assert one.server._backplane._machine == two.server._backplane._machine == 77  # type: ignore[attr-defined]


def test_a_server_that_is_alone_knows_of_nobody_else() -> None:
    assert Server(configuration())._backplane.connections_elsewhere("alice") == 0
