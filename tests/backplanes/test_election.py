"""Who plays a role: every node judges for itself by what it has heard, and all come to the same."""

from __future__ import annotations

import pytest

from valtronics_fast.backplanes import election as module
from valtronics_fast.backplanes.election import Election
from valtronics_fast.backplanes.members import Heartbeat, Members

ROLE = "mqtt"


class Node:
    """A node that hears others."""

    def __init__(self, number: int, since: int | None = None) -> None:
        self.number = number
        self.members = Members()
        self.election = Election(number, self.members)
        if since is not None:
            self.election.stands[ROLE] = since

    def heartbeat(self, *, leaving: bool = False) -> Heartbeat:
        plays = tuple(self.election.plays)
        return Heartbeat(node=self.number, number=1, stands=self.election.stands, plays=plays, leaving=leaving)

    @property
    def leads(self) -> bool:
        return self.election.leads(ROLE)


def hear(*nodes: Node) -> list[bool]:
    """Let all of them hear each other and judge; return who leads."""
    for heartbeat in [node.heartbeat() for node in nodes]:
        for node in nodes:
            if node.number != heartbeat.node:
                node.members.note(heartbeat, 0.0)
    for node in nodes:
        node.election.judge()
    return [node.leads for node in nodes]


@pytest.fixture(autouse=True)
def _no_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTENING", 0.0)
    monkeypatch.setattr(module, "LISTENING_AGAIN", 0.0)


async def test_alone() -> None:
    assert hear(Node(1, 10)) == [True]


@pytest.mark.parametrize("succeeds", [True, False])
async def test_who_is_appointed_plays_at_once_and_goes_on(succeeds: bool) -> None:
    node = Node(1)
    node.election.appoint(ROLE, succeeds=succeeds)
    assert node.leads
    assert node.election.leader(ROLE) == 1
    assert (ROLE in node.election.heard) == succeeds
    node.election.stand(ROLE)
    assert hear(node, Node(2)) == [True, False]
    node.election.pause()
    assert not node.leads
    assert hear(node, Node(2)) == [True, False]


async def test_who_stands_for_longest_leads_and_stays() -> None:
    first, second, third = Node(3, 10), Node(2, 20), Node(1)
    assert hear(first, second, third) == [True, False, False]
    assert [node.election.leader(ROLE) for node in (first, second, third)] == [3, None, None]
    assert hear(first, second, third) == [True, False, False]
    assert [node.election.leader(ROLE) for node in (first, second, third)] == [3, 3, 3]


async def test_who_plays_goes_on_when_one_comes_that_stood_for_longer() -> None:
    first, second = Node(1, 10), Node(2, 20)
    hear(second)
    first.members.note(second.heartbeat(), 0.0)
    assert hear(first, second) == [False, True]
    assert first.election.heard == {ROLE}
    assert first.election.leader(ROLE) == 2


async def test_of_equals_the_lower_number() -> None:
    assert hear(Node(2, 10), Node(1, 10)) == [False, True]


async def test_two_that_play_agree_on_one() -> None:
    first, second = Node(1, 10), Node(2, 20)
    hear(first)
    hear(second)
    assert (first.leads, second.leads) == (True, True)
    assert hear(first, second) == [True, False]


@pytest.mark.parametrize("leaving", [False, True])
async def test_the_next_one_follows(leaving: bool) -> None:
    first, second = Node(1, 10), Node(2, 20)
    for _ in range(2):
        assert hear(first, second) == [True, False]
    if leaving:
        second.members.note(first.heartbeat(leaving=True), 1.0)
    else:
        second.members.prune(1000.0)
    second.election.judge()
    assert second.leads
    assert second.election.heard == {ROLE}


async def test_who_is_replaced_waits_for_a_judgement() -> None:
    first, second = Node(1, 10), Node(2, 20)
    hear(first)
    hear(second)
    first.election.resign(ROLE)
    assert not first.leads
    assert hear(first, second) == [False, True]
    second.election.withdraw(ROLE)
    assert not second.leads
    assert hear(first, second) == [True, False]


async def test_nothing_is_judged_before_the_others_had_time_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(1, 10)
    hear(node)
    monkeypatch.setattr(module, "LISTENING", 1000.0)
    node.election.listen()
    assert hear(node, Node(2, 5)) == [True, False]  # who plays goes on
    node.election.pause()
    node.members.clear()
    assert hear(node) == [False]  # who stood still does not, even if nobody else is to be heard


async def test_after_a_log_that_was_away_the_others_have_more_time_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTENING_AGAIN", 1000.0)
    node = Node(1, 10)
    node.election.listen(again=True)
    assert hear(node) == [False]
    node.election.listen()
    assert hear(node) == [True]
