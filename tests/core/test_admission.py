"""What becomes of a publisher's messages: judged, published, counted, a slice of time after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast._core.admission import Admission, permit
from valtronics_fast._core.formats import depth_of
from valtronics_fast._core.scope import Grant
from valtronics_fast._core.wire import ERROR_NAMES, Channel, ErrorCode
from valtronics_fast.errors import PublicationError

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYTHING = Grant("alice", 2e9, publish=15)
DEPTH = 16
FAR = 1e18


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


def admission(hub: Hub, grant: Grant = EVERYTHING, **bounds: int) -> Admission:
    return Admission(hub.publish, grant, **{"max_rejected": 100, **bounds})


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


TEXTS = [
    b"",
    b" \t\r\n",
    b"{",
    b"{} {}",
    b'"text"',
    b"[]",
    b"17",
    b"{}",
    b"\xff",
    b'{"type":"nothing"}',
    b'{"type":"telemetry_update","telemetry":1e999}',
    orjson.dumps(telemetry(1)),
    b" " + orjson.dumps(telemetry("7")) + b"\r",
    orjson.dumps(telemetry(8)),
    orjson.dumps(telemetry(2, bad=True)),
    orjson.dumps(telemetry(x=[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]])),
    orjson.dumps(telemetry(x=[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]])),
    orjson.dumps({"type": "alert", "severity": "info"}),
    orjson.dumps(telemetry(3, note="x" * 300)),
]
GRANTS = [EVERYTHING, Grant("d", 2e9, publish=15, devices=frozenset({1, 7})), Grant("t", 2e9, publish=2)]


def expected(texts: list[bytes], grant: Grant, hub: Hub, max_text: int) -> tuple[int, int, list[tuple[int, str]]]:
    """Take the texts one by one, as the documentation says it; return what is counted."""
    accepted, matched = 0, 0
    refused: list[tuple[int, str]] = []

    def refuse(code: int) -> None:
        refused.append((accepted + len(refused), ERROR_NAMES[code]))

    for text in texts:
        if len(text) > max_text:
            refuse(ErrorCode.MESSAGE_TOO_LARGE)
            continue
        if not text.strip(b" \t\r\n"):
            continue
        try:
            message: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            refuse(ErrorCode.INVALID_JSON)
            continue
        if not isinstance(message, dict) or depth_of(message) > DEPTH:
            refuse(ErrorCode.INVALID_MESSAGE)
            continue
        try:
            permit(grant, message)
            matched += hub.publish(message)
            accepted += 1
        except PublicationError as error:
            refuse(error.code)
    return accepted, matched, refused


@given(
    st.lists(st.sampled_from(TEXTS) | st.binary(max_size=6), max_size=30),
    st.sampled_from(GRANTS),
    st.integers(1, 7),
)
@example(TEXTS, EVERYTHING, 3)
@example([b"\v"], EVERYTHING, 1)  # no whitespace of JSON
def test_it_does_what_the_slow_way_does_however_it_is_sliced(texts: list[bytes], grant: Grant, most: int) -> None:
    wanted, got = Hub(), Hub()
    accepted, matched, refused = expected(texts, grant, wanted, 300)
    intake = admission(got, grant, max_text=300)
    at, slices = 0, 0
    while at < len(texts):
        before = intake.handled
        at = intake.work(texts, at, FAR, most)
        assert intake.handled - before <= most
        slices += 1
        assert slices <= len(texts)
    assert got.messages == wanted.messages
    assert (intake.accepted, intake.matched, intake.rejected_total) == (accepted, matched, len(refused))
    assert [(refusal["index"], refusal["error"]) for refusal in intake.rejected] == refused
    assert intake.handled == accepted + len(refused)


def test_a_slice_that_is_over_has_one_message() -> None:
    """So that it goes on, however late it is."""
    hub = Hub()
    intake = admission(hub)
    texts = [b"", orjson.dumps(telemetry(1)), orjson.dumps(telemetry(2))]
    at = intake.work(texts, intake.work(texts, 0, 0.0, 10), 0.0, 10)
    assert at == 2
    assert [message["device_id"] for message in hub.messages] == [1]


def test_refusals_beyond_the_cap_are_counted() -> None:
    intake = admission(Hub(), max_rejected=3)
    assert intake.work([b"{"] * 10 + [orjson.dumps(telemetry())], 0, FAR, 100) == 11
    assert [refusal["index"] for refusal in intake.rejected] == [0, 1, 2]
    assert (intake.accepted, intake.rejected_total) == (1, 10)


def test_the_grant_can_be_replaced_on_the_way() -> None:
    intake = admission(Hub())
    intake.offer(telemetry())
    intake.grant = Grant("alice", 2e9, publish=0)
    intake.offer(telemetry())
    assert intake.rejected == [
        {"index": 1, "error": "forbidden", "message": "publishing on this channel is not permitted"}
    ]


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('{"a":[0,', "]}")])
def test_nesting(opening: str, closing: str) -> None:
    step = 2 if opening.startswith('{"a":[') else 1
    for times in range((DEPTH + 3) // step):
        intake = admission(Hub())
        levels = 1 + times * step
        text = '{"type":"alert","x":' + opening * times + "1" + closing * times + "}"
        intake.work([text.encode()], 0, FAR, 1)
        assert (intake.accepted, intake.rejected_total) == ((1, 0) if levels <= DEPTH else (0, 1)), levels


def test_an_unexpected_exception_is_not_hidden() -> None:
    def publish(message: Mapping[str, object]) -> int:
        raise ZeroDivisionError

    intake = Admission(publish, EVERYTHING, max_rejected=1)
    with pytest.raises(ZeroDivisionError):
        intake.offer(telemetry())
    with pytest.raises(ZeroDivisionError):
        intake.work([orjson.dumps(telemetry())], 0, FAR, 1)
    assert intake.handled == 0
