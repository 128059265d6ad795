from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import Channel, ErrorCode
from valtronics_fast.errors import PublicationError
from valtronics_fast.http_publish import (
    MAX_DEPTH,
    MAX_LINE,
    MAX_REJECTED,
    TURN_MESSAGES,
    BodyError,
    Intake,
    permit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYTHING = Grant("alice", 2e9, publish=15)


def telemetry(device: object = 1, **more: object) -> dict[str, object]:
    return {"type": "telemetry_update", "device_id": device, "telemetry": {"t": 1.5}, **more}


class Hub:
    """Records what is published; refuses messages marked "bad"; each one matches two subscriptions."""

    def __init__(self) -> None:
        self.messages: list[Mapping[str, object]] = []

    def publish(self, message: Mapping[str, object]) -> int:
        if message.get("bad"):
            raise PublicationError(ErrorCode.INVALID_MESSAGE, "it is bad")
        self.messages.append(message)
        return 2


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def intake(hub: Hub) -> Intake:
    return Intake(hub.publish, EVERYTHING)


class TestPermit:
    @pytest.mark.parametrize(
        ("channel", "kind"),
        [
            (Channel.TELEMETRY, "telemetry_update"),
            (Channel.ALERTS, "alert"),
            (Channel.DEVICES, "device_status_update"),
            (Channel.SYSTEM, "system_status_update"),
        ],
    )
    def test_a_type_needs_the_bit_of_its_channel(self, channel: Channel, kind: str) -> None:
        message = {"type": kind, "device_id": 1}
        permit(Grant("a", 2e9, publish=1 << channel), message)
        with pytest.raises(PublicationError) as caught:
            permit(Grant("a", 2e9, publish=15 & ~(1 << channel)), message)
        assert caught.value.code == ErrorCode.FORBIDDEN

    @pytest.mark.parametrize("device", [7, "7", "pump"])
    def test_a_device_in_scope(self, device: object) -> None:
        permit(Grant("a", 2e9, publish=15, devices=frozenset({7, "pump"})), telemetry(device))

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (telemetry(8), ErrorCode.FORBIDDEN),
            (telemetry("07"), ErrorCode.FORBIDDEN),
            ({"type": "device_status_update", "device_id": "8"}, ErrorCode.FORBIDDEN),
            ({"type": "alert", "device_id": 8}, ErrorCode.FORBIDDEN),
            ({"type": "alert"}, ErrorCode.FORBIDDEN),
            ({"type": "alert", "device_id": None}, ErrorCode.FORBIDDEN),
            (telemetry(None), ErrorCode.INVALID_MESSAGE),
            (telemetry(True), ErrorCode.INVALID_MESSAGE),
            (telemetry([7]), ErrorCode.INVALID_MESSAGE),
            (telemetry(1 << 63), ErrorCode.INVALID_MESSAGE),
        ],
    )
    def test_a_device_out_of_scope(self, message: dict[str, object], code: ErrorCode) -> None:
        with pytest.raises(PublicationError) as caught:
            permit(Grant("a", 2e9, publish=15, devices=frozenset({7})), message)
        assert caught.value.code == code

    def test_system_is_about_no_device(self) -> None:
        permit(Grant("a", 2e9, publish=15, devices=frozenset()), {"type": "system_status_update"})

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ({}, ErrorCode.MISSING_TYPE),
            ({"type": None}, ErrorCode.MISSING_TYPE),
            ({"type": "subscribe"}, ErrorCode.UNKNOWN_TYPE),
            ({"type": ["alert"]}, ErrorCode.UNKNOWN_TYPE),
            ({"type": 1}, ErrorCode.UNKNOWN_TYPE),
        ],
    )
    def test_a_type_that_is_no_data_message(self, message: dict[str, object], code: ErrorCode) -> None:
        with pytest.raises(PublicationError) as caught:
            permit(EVERYTHING, message)
        assert caught.value.code == code


class TestJson:
    async def test_one_message(self, hub: Hub, intake: Intake) -> None:
        await intake.json(orjson.dumps(telemetry()))
        assert hub.messages == [telemetry()]
        assert intake.answer() == {"accepted": 1, "matched": 2, "rejected": [], "rejected_total": 0}

    async def test_several(self, hub: Hub, intake: Intake) -> None:
        messages = [telemetry(1), telemetry(2, bad=True), 5, telemetry(3)]
        await intake.json(orjson.dumps({"messages": messages}))
        assert hub.messages == [telemetry(1), telemetry(3)]
        assert intake.answer() == {
            "accepted": 2,
            "matched": 4,
            "rejected": [
                {"index": 1, "error": "invalid_message", "message": "it is bad"},
                {"index": 2, "error": "invalid_message", "message": "a message is a JSON object"},
            ],
            "rejected_total": 2,
        }

    async def test_no_messages_at_all(self, intake: Intake) -> None:
        await intake.json(b'{"messages": []}')
        assert intake.answer() == {"accepted": 0, "matched": 0, "rejected": [], "rejected_total": 0}

    async def test_a_type_makes_it_one_message(self, hub: Hub, intake: Intake) -> None:
        await intake.json(orjson.dumps(telemetry(messages=[telemetry()])))
        assert hub.messages == [telemetry(messages=[telemetry()])]

    async def test_the_last_of_duplicate_keys_wins(self, hub: Hub, intake: Intake) -> None:
        await intake.json(b'{"type":"alert","device_id":1,"device_id":2}')
        assert hub.messages == [{"type": "alert", "device_id": 2}]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", ErrorCode.INVALID_JSON),
            (b"{", ErrorCode.INVALID_JSON),
            (b'{"type":NaN}', ErrorCode.INVALID_JSON),
            (b'{"type":"\xff"}', ErrorCode.INVALID_JSON),
            (b"{}{}", ErrorCode.INVALID_JSON),
            (b"[" * 5000 + b"]" * 5000, ErrorCode.INVALID_JSON),
            (b"[]", ErrorCode.INVALID_MESSAGE),
            (b'"alert"', ErrorCode.INVALID_MESSAGE),
            (b'{"messages":{}}', ErrorCode.INVALID_MESSAGE),
            (b'{"messages":null}', ErrorCode.INVALID_MESSAGE),
        ],
    )
    async def test_no_such_body(self, hub: Hub, intake: Intake, body: bytes, code: ErrorCode) -> None:
        with pytest.raises(BodyError) as caught:
            await intake.json(body)
        assert caught.value.code == code
        assert hub.messages == []

    @pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]"), (b'{"a":[0,', b"]}")])
    async def test_nesting(self, hub: Hub, intake: Intake, opening: bytes, closing: bytes) -> None:
        step = 2 if opening.startswith(b'{"a":[') else 1
        for levels in range(1, MAX_DEPTH + 4):
            if (levels - 1) % step:
                continue
            times = (levels - 1) // step
            body = b'{"type":"alert","x":' + opening * times + b"1" + closing * times + b"}"
            accepted = intake.accepted
            await intake.json(body)
            assert (intake.accepted > accepted) == (levels <= MAX_DEPTH), levels
        assert {refusal["error"] for refusal in intake.rejected} == {"invalid_message"}

    async def test_refusals_beyond_the_cap_are_counted(self, intake: Intake) -> None:
        await intake.json(orjson.dumps({"messages": [telemetry(bad=True)] * 250 + [telemetry()]}))
        assert [refusal["index"] for refusal in intake.rejected] == list(range(MAX_REJECTED))
        assert intake.rejected_total == 250
        assert intake.accepted == 1


class TestNdjson:
    BODY = b"".join(
        [
            orjson.dumps(telemetry("Gerät")) + b"\r\n",
            b"\n",
            b"  \t\n",
            b"{not json}\n",
            orjson.dumps(telemetry(2, bad=True)) + b"\n",
            b"[]\n",
            orjson.dumps(telemetry(3)),
        ]
    )
    REJECTED = ((1, "invalid_json"), (2, "invalid_message"), (3, "invalid_message"))

    @pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
    async def test_every_split(self, end: bytes) -> None:
        body = self.BODY + end
        for first in range(len(body)):
            hub = Hub()
            intake = Intake(hub.publish, EVERYTHING)
            for piece in (body[:first], body[first : first + 3], body[first + 3 :]):
                await intake.feed(piece)
            await intake.finish()
            assert [message["device_id"] for message in hub.messages] == ["Gerät", 3]
            assert tuple((refusal["index"], refusal["error"]) for refusal in intake.rejected) == self.REJECTED
            assert (intake.accepted, intake.rejected_total) == (2, 3)

    async def test_byte_by_byte(self, hub: Hub, intake: Intake) -> None:
        for i in range(len(self.BODY)):
            await intake.feed(self.BODY[i : i + 1])
        await intake.finish()
        assert [message["device_id"] for message in hub.messages] == ["Gerät", 3]

    async def test_a_message_is_published_once_its_line_is_complete(self, hub: Hub, intake: Intake) -> None:
        line = orjson.dumps(telemetry())
        await intake.feed(line)
        assert hub.messages == []
        await intake.feed(b"\n" + line)
        assert len(hub.messages) == 1
        await intake.finish()
        assert len(hub.messages) == 2

    async def test_nothing(self, intake: Intake) -> None:
        await intake.finish()
        assert intake.answer() == {"accepted": 0, "matched": 0, "rejected": [], "rejected_total": 0}

    async def test_the_line_limit(self, hub: Hub, intake: Intake) -> None:
        """A line of MAX_LINE bytes is published; one byte more and it is refused, wherever it is cut."""
        longest = orjson.dumps(telemetry(x="")).replace(b'"x":""', b'"x":"%s"' % (b"y" * MAX_LINE))
        longest = longest.replace(b"y" * (len(longest) - MAX_LINE), b"", 1)
        assert len(longest) == MAX_LINE
        body = longest + b"\n " + longest + b"\n" + orjson.dumps(telemetry(2)) + b"\n"
        for size in (len(body), MAX_LINE, 1000, 4 * MAX_LINE // 3):
            hub.messages.clear()
            intake = Intake(hub.publish, EVERYTHING)
            for at in range(0, len(body), size):
                await intake.feed(body[at : at + size])
            await intake.finish()
            assert [message["device_id"] for message in hub.messages] == [1, 2]
            assert [(r["index"], r["error"]) for r in intake.rejected] == [(1, "message_too_large")]

    @pytest.mark.parametrize("size", [50_000, MAX_LINE, MAX_LINE + 1])
    async def test_an_endless_line_is_refused_once_and_not_kept(self, intake: Intake, size: int) -> None:
        for _ in range(100):
            await intake.feed(b"x" * size)
            assert len(intake._line) <= MAX_LINE
        await intake.finish()
        assert intake.rejected_total == 1
        assert intake.rejected[0]["error"] == "message_too_large"

    async def test_the_grant_can_be_replaced_on_the_way(self, hub: Hub, intake: Intake) -> None:
        line = orjson.dumps(telemetry()) + b"\n"
        await intake.feed(line)
        intake.grant = Grant("alice", 2e9, publish=0)
        await intake.feed(line)
        assert intake.rejected == [
            {"index": 1, "error": "forbidden", "message": "publishing on this channel is not permitted"}
        ]
        assert len(hub.messages) == 1


@pytest.mark.parametrize("shape", ["json", "ndjson"])
async def test_others_get_their_turn(shape: str) -> None:
    """Another task runs after every TURN_MESSAGES messages, accepted or not."""
    turns = 0
    turn_of_message: list[int] = []

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def publish(message: Mapping[str, object]) -> int:
        turn_of_message.append(turns)
        if message["device_id"] == 2:
            raise PublicationError(ErrorCode.INVALID_MESSAGE, "refused")
        return 0

    other = asyncio.create_task(count_turns())
    await asyncio.sleep(0)
    intake = Intake(publish, EVERYTHING)
    messages = [telemetry(1 + i % 2) for i in range(3 * TURN_MESSAGES)]
    if shape == "json":
        await intake.json(orjson.dumps({"messages": messages}))
    else:
        await intake.feed(b"\n".join(orjson.dumps(message) for message in messages))
        await intake.finish()
    other.cancel()
    assert [turn_of_message.count(turn) for turn in sorted(set(turn_of_message))] == [TURN_MESSAGES] * 3


async def test_an_unexpected_exception_is_not_hidden() -> None:
    def publish(message: Mapping[str, object]) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Intake(publish, EVERYTHING).offer(telemetry())
