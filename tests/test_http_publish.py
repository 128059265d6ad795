"""Bodies of publish requests: cut into texts, published, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ErrorCode
from valtronics_fast.errors import PublicationError
from valtronics_fast.http_publish import MAX_LINE, MAX_REJECTED, PIECE, BodyError, Intake, JsonBody, NdjsonBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVERYTHING = Grant("alice", 2e9, publish=15)
FAR = 1e18
DEPTH = 16


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


def publish_all(intake: Intake, texts: list[bytes]) -> None:
    intake.put(texts)
    while intake.waiting:
        intake.publish(FAR, 3)


def publish_json(hub: Hub, body: bytes) -> Intake:
    """Publish a JSON body; BodyError: it is none."""
    intake = Intake(hub.publish, EVERYTHING, lines=False)
    whole = JsonBody(body)
    for _ in whole.check():
        pass
    for texts in whole.pieces():
        publish_all(intake, texts)
    return intake


def publish_lines(hub: Hub, pieces: Iterable[bytes]) -> Intake:
    """Publish an NDJSON body that comes in pieces."""
    intake = Intake(hub.publish, EVERYTHING, lines=True)
    body = NdjsonBody()
    for piece in pieces:
        publish_all(intake, body.feed(piece))
        assert len(body._line) <= MAX_LINE
    publish_all(intake, body.finish())
    return intake


NOTHING = {"accepted": 0, "matched": 0, "rejected": [], "rejected_total": 0}


class TestJson:
    def test_one_message(self, hub: Hub) -> None:
        intake = publish_json(hub, orjson.dumps(telemetry()))
        assert hub.messages == [telemetry()]
        assert intake.answer() == {"accepted": 1, "matched": 2, "rejected": [], "rejected_total": 0}

    def test_several(self, hub: Hub) -> None:
        messages = [telemetry(1), telemetry(2, bad=True), 5, telemetry(3)]
        intake = publish_json(hub, orjson.dumps({"messages": messages}))
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

    def test_several_pieces(self, hub: Hub) -> None:
        messages = [telemetry(number, note="x" * (number % 300)) for number in range(3000)]
        body = orjson.dumps({"source": "backend", "messages": messages, "more": [1, {"a": None}]})
        assert len(body) > 3 * PIECE
        assert publish_json(hub, body).accepted == 3000
        assert hub.messages == messages

    def test_a_message_larger_than_a_line_may_be(self, hub: Hub) -> None:
        messages = [telemetry(1, note="x" * 2 * MAX_LINE), telemetry(2)]
        assert publish_json(hub, orjson.dumps({"messages": messages})).accepted == 2
        assert hub.messages == messages

    def test_no_messages_at_all(self, hub: Hub) -> None:
        assert publish_json(hub, b'{"messages": []}').answer() == NOTHING

    def test_a_type_makes_it_one_message(self, hub: Hub) -> None:
        publish_json(hub, orjson.dumps(telemetry(messages=[telemetry()])))
        assert hub.messages == [telemetry(messages=[telemetry()])]

    def test_a_message_with_many_members(self, hub: Hub) -> None:
        message = telemetry(**{f"extra{number}": number for number in range(200)})
        publish_json(hub, orjson.dumps(message))
        assert hub.messages == [message]

    def test_the_last_of_duplicate_keys_wins(self, hub: Hub) -> None:
        publish_json(hub, b'{"type":"alert","device_id":1,"device_id":2}')
        publish_json(hub, b'{"messages":[{"type":"alert"}],"messages":[{"type":"alert","device_id":3}]}')
        publish_json(hub, b'{"m\\u0065ssages":[{"type":"alert","device_id":4}]}')
        assert hub.messages == [{"type": "alert", "device_id": device} for device in (2, 3, 4)]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", ErrorCode.INVALID_JSON),
            (b"{", ErrorCode.INVALID_JSON),
            (b'{"type":NaN}', ErrorCode.INVALID_JSON),
            (b'{"type":"\xff"}', ErrorCode.INVALID_JSON),
            (b"{}{}", ErrorCode.INVALID_JSON),
            (b"[" * 5000 + b"]" * 5000, ErrorCode.INVALID_JSON),
            (b'{"messages":[],"messages":{},"x":nul}', ErrorCode.INVALID_JSON),
            (b'{"messages":[x],"messages":{}}', ErrorCode.INVALID_JSON),
            (b'{"messages":[{"type":"alert"},{"type":"alert"},tru]}', ErrorCode.INVALID_JSON),
            (b'{"messages":[{"type":"alert"},{"type":"alert"}}', ErrorCode.INVALID_JSON),
            (b'{"messages":[{"type":"alert"},]}', ErrorCode.INVALID_JSON),
            (b'{"messages":[{"type":"alert"} {"type":"alert"}]}', ErrorCode.INVALID_JSON),
            (b'{"messages":[{"type":"alert"}}}', ErrorCode.INVALID_JSON),
            (b"[]", ErrorCode.INVALID_MESSAGE),
            (b'"alert"', ErrorCode.INVALID_MESSAGE),
            (b'{"messages":{}}', ErrorCode.INVALID_MESSAGE),
            (b'{"messages":null}', ErrorCode.INVALID_MESSAGE),
            (orjson.dumps({"messages": [], **{str(n): n for n in range(64)}}), ErrorCode.INVALID_MESSAGE),
        ],
    )
    def test_no_such_body(self, hub: Hub, body: bytes, code: ErrorCode) -> None:
        with pytest.raises(BodyError) as caught:
            publish_json(hub, body)
        assert caught.value.code == code
        assert hub.messages == []

    def test_refusals_beyond_the_cap_are_counted(self, hub: Hub) -> None:
        intake = publish_json(hub, orjson.dumps({"messages": [telemetry(bad=True)] * 250 + [telemetry()]}))
        assert [refusal["index"] for refusal in intake.rejected] == list(range(MAX_REJECTED))
        assert (intake.accepted, intake.rejected_total) == (1, 250)


MESSAGES = st.sampled_from([telemetry(), telemetry("7", bad=True), {"type": "x"}, {}, 1, "}", [[]], None])
VALID = st.fixed_dictionaries(
    {}, optional={"messages": st.lists(MESSAGES, max_size=6) | MESSAGES, "x": MESSAGES, "type": st.just("alert")}
).map(orjson.dumps)


def cut_in(text: bytes, at: int, rest: bytes) -> bytes:
    return text[: at % (len(text) + 1)] + rest


@given(
    VALID
    | st.builds(cut_in, VALID, st.integers(0, 500), st.sampled_from([b"", b"]", b"}", b"]}", b",1]}", b'"}', b"{}]}"]))
    | st.text('{}[]",:1', max_size=20).map(str.encode)
)
@example(b'{"messages":[{"type":"alert"}]}')
def test_a_body_is_judged_as_if_it_were_decoded_as_a_whole(body: bytes) -> None:
    """The slow way: the body is one document, and its messages are offered one by one."""
    code: ErrorCode | None = None
    offered: list[Any] = []
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        code = ErrorCode.INVALID_JSON
    else:
        if isinstance(document, dict):
            offered = [document] if "type" in document or "messages" not in document else document["messages"]
        if not isinstance(document, dict) or not isinstance(offered, list):
            code = ErrorCode.INVALID_MESSAGE
    hub = Hub()
    if code is not None:
        with pytest.raises(BodyError) as caught:
            publish_json(hub, body)
        assert (caught.value.code, hub.messages) == (code, [])
        return
    slow = Hub()
    wanted = Intake(slow.publish, EVERYTHING, lines=False)
    for message in offered:
        wanted.offer(message)
    assert publish_json(hub, body).answer() == wanted.answer()
    assert hub.messages == slow.messages


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
    def test_every_split(self, end: bytes) -> None:
        body = self.BODY + end
        for first in range(len(body)):
            hub = Hub()
            intake = publish_lines(hub, (body[:first], body[first : first + 3], body[first + 3 :]))
            assert [message["device_id"] for message in hub.messages] == ["Gerät", 3]
            assert tuple((refusal["index"], refusal["error"]) for refusal in intake.rejected) == self.REJECTED
            assert (intake.accepted, intake.rejected_total) == (2, 3)

    def test_byte_by_byte(self, hub: Hub) -> None:
        publish_lines(hub, (self.BODY[i : i + 1] for i in range(len(self.BODY))))
        assert [message["device_id"] for message in hub.messages] == ["Gerät", 3]

    def test_a_line_is_there_once_it_is_complete(self) -> None:
        body = NdjsonBody()
        assert body.feed(b"12") == []
        assert body.feed(b"3\n45") == [b"123"]
        assert body.finish() == [b"45"]

    def test_nothing(self, hub: Hub) -> None:
        assert publish_lines(hub, ()).answer() == NOTHING

    def test_the_line_limit(self, hub: Hub) -> None:
        """A line of MAX_LINE bytes is published; one byte more and it is refused, wherever it is cut."""
        longest = orjson.dumps(telemetry(x="")).replace(b'"x":""', b'"x":"%s"' % (b"y" * MAX_LINE))
        longest = longest.replace(b"y" * (len(longest) - MAX_LINE), b"", 1)
        assert len(longest) == MAX_LINE
        body = longest + b"\n " + longest + b"\n" + orjson.dumps(telemetry(2)) + b"\n"
        for size in (len(body), MAX_LINE, 1000, 4 * MAX_LINE // 3):
            hub.messages.clear()
            intake = publish_lines(hub, (body[at : at + size] for at in range(0, len(body), size)))
            assert [message["device_id"] for message in hub.messages] == [1, 2]
            assert [(r["index"], r["error"]) for r in intake.rejected] == [(1, "message_too_large")]

    @pytest.mark.parametrize("size", [50_000, MAX_LINE, MAX_LINE + 1])
    def test_an_endless_line_is_refused_once_and_not_kept(self, hub: Hub, size: int) -> None:
        intake = publish_lines(hub, [b"x" * size] * 100)
        assert intake.rejected_total == 1
        assert intake.rejected[0]["error"] == "message_too_large"
