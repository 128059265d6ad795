"""Who is there, by what each one says of itself."""

from __future__ import annotations

import msgspec
import pytest

from valtronics_fast.backplanes.members import GREETING, LIFETIME, MAX_MEMBERS, Heartbeat, Members, mask_of


def heartbeat(node: int, *lanes: int, leaving: bool = False) -> Heartbeat:
    return Heartbeat(node=node, number=1, follows=mask_of(lanes), leaving=leaving)


def test_who_is_not_heard_is_gone() -> None:
    members = Members()
    assert members.note(heartbeat(1), 10.0)
    assert members.note(heartbeat(2), 11.0)
    assert not members.note(heartbeat(1), 12.0)
    members.prune(11.0 + LIFETIME)
    assert [one.node for one in members.heartbeats()] == [1]
    assert members.note(heartbeat(2), 20.0)


def test_who_leaves_is_gone_at_once() -> None:
    members = Members()
    members.note(heartbeat(1), 10.0)
    members.note(heartbeat(1, leaving=True), 10.0)
    members.note(heartbeat(2, leaving=True), 10.0)
    assert len(members) == 0


def test_those_who_are_greeted_have_some_time() -> None:
    members = Members()
    assert members.unknown(10.0) == 0
    members.note(heartbeat(1), 10.0)
    members.clear()
    members.greet(10.0)
    assert len(members) == 0
    assert members.unknown(10.0) == GREETING
    assert members.unknown(20.0) == 0


def test_each_lane_is_asked_of_one_who_follows_it() -> None:
    members = Members()
    members.note(heartbeat(1, 0, 1, 2, 255), 0)
    members.note(heartbeat(2, 1, 2, 3), 0)
    members.note(heartbeat(3), 0)
    asked = members.followers([0, 1, 2, 3, 4, 255])
    assert sorted(lane for lanes in asked.values() for lane in lanes) == [0, 1, 2, 3, 255]
    assert all(lane in next(iter(h.lanes() for h in members.heartbeats() if h.node == node))
               for node, lanes in asked.items() for lane in lanes)  # fmt: skip
    assert members.followers([1, 2], but={1}) == {2: [1, 2]}
    assert members.followers([1, 2], first={1: 1, 2: 1}) == {1: [1, 2]}
    assert members.followers([3], first={3: 1}) == {2: [3]}


def test_the_load_is_shared() -> None:
    members = Members()
    for node in (1, 2, 3):
        members.note(heartbeat(node, *range(60)), 0)
    assert [len(lanes) for lanes in members.followers(range(60)).values()] == [20, 20, 20]


def test_their_number_is_bounded() -> None:
    members = Members()
    for node in range(1, MAX_MEMBERS + 2):
        members.note(heartbeat(node), 0)
    assert len(members) == MAX_MEMBERS
    assert not members.note(heartbeat(1), 1.0)


def test_a_heartbeat_says_what_it_says() -> None:
    said = Heartbeat(node=5, number=3, follows=mask_of([0, 9, 255]), sequences={9: 4}, users={"a": 1}, greets=True)
    heard = msgspec.json.decode(msgspec.json.encode(said), type=Heartbeat)
    assert heard == said
    assert heard.lanes() == [0, 9, 255]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'{"node":1}', b'{"node":0,"number":1}', b'{"node":1,"number":0}', b'{"node":1e3,"number":"x"}',
        b'{"node":99999999999999999999,"number":1}', b'{"node":1,"number":1,"follows":"0x1"}',
        b'{"node":1,"number":1,"follows":"' + b"f" * 65 + b'"}', b'{"node":1,"number":1,"sequences":{"256":1}}',
        b'{"node":1,"number":1,"sequences":{"-1":1}}', b'{"node":1,"number":1,"sequences":{"1":0}}',
    ],
)  # fmt: skip
def test_no_heartbeats(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(data, type=Heartbeat)
