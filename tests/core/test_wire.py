"""The wire's names and numbers against a literal copy of protocol.md (sections 3 and 5) and RFC 6455."""

from __future__ import annotations

from enum import IntEnum

import pytest

from valtronics_fast._core import wire

CHANNELS = {"telemetry": 0, "alerts": 1, "devices": 2, "system": 3}

MESSAGE_TYPES = {
    "telemetry": "telemetry_update",
    "alerts": "alert",
    "devices": "device_status_update",
    "system": "system_status_update",
}

COMMANDS = "auth subscribe unsubscribe ping batch publish error_report"

ERRORS = """
invalid_json invalid_message unknown_type missing_type unknown_channel channel_not_allowed invalid_filter
not_authenticated forbidden not_subscribed rate_limited message_too_large batch_too_large
too_many_subscriptions invalid_token token_expired too_many_connections internal
"""

# Codes with a name of their own in protocol.md, section 5.
CLOSE_REASONS = {
    4001: "invalid_token",
    4002: "auth_timeout",
    4003: "forbidden",
    4004: "protocol_error",
    4005: "too_many_connections",
    4010: "token_expired",
    4100: "server_full",
    4101: "rate_limited",
    4102: "slow_consumer",
    4103: "ping_timeout",
    4200: "rebalance",
}
# Codes of RFC 6455, 7.4.1, and its registry: those that section 5 lists, 1002 (a violation of the RFC), and
# the two that only stand for the absence of a code.
STANDARD_CODES = {1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012}

OPCODES = {
    "OP_CONTINUATION": 0x0,
    "OP_TEXT": 0x1,
    "OP_BINARY": 0x2,
    "OP_CLOSE": 0x8,
    "OP_PING": 0x9,
    "OP_PONG": 0xA,
}


def test_channels() -> None:
    assert wire.CHANNELS == CHANNELS
    assert {number: name for name, number in CHANNELS.items()} == wire.CHANNEL_NAMES


def test_data_message_types() -> None:
    assert {wire.CHANNEL_NAMES[number]: name for number, name in wire.MESSAGE_TYPES.items()} == MESSAGE_TYPES


def test_commands() -> None:
    assert set(wire.COMMANDS) == set(COMMANDS.split())
    assert {wire.Command(number).name.lower(): number for number in wire.COMMANDS.values()} == wire.COMMANDS


def test_error_codes() -> None:
    assert set(wire.ERROR_NAMES.values()) == set(ERRORS.split())
    assert {wire.ErrorCode(number).name.lower(): number for number in wire.ERROR_NAMES} == {
        name: number for number, name in wire.ERROR_NAMES.items()
    }


def test_success_is_no_error_on_the_wire() -> None:
    assert int(wire.ErrorCode.NO_ERROR) == 0
    assert 0 not in wire.ERROR_NAMES


def test_every_error_has_a_text_for_people() -> None:
    assert set(wire.ERROR_TEXTS) == set(wire.ERROR_NAMES)
    assert len(set(wire.ERROR_TEXTS.values())) == len(wire.ERROR_TEXTS)
    assert all(text and text == text.strip() for text in wire.ERROR_TEXTS.values())


def test_close_codes() -> None:
    own = {code: reason for code, reason in wire.CLOSE_REASONS.items() if code >= 3000}
    assert own == CLOSE_REASONS
    assert set(wire.CLOSE_REASONS) - set(own) == STANDARD_CODES


def test_a_close_reason_fits_into_its_frame() -> None:
    for code, reason in wire.CLOSE_REASONS.items():
        assert reason == wire.CloseCode(code).name.removeprefix("CLOSE_").lower()
        assert 0 < len(reason.encode()) <= 123      # RFC 6455, 5.5: 125 bytes, two of them the code


def test_opcodes() -> None:
    assert {name: int(member) for name, member in wire.Opcode.__members__.items()} == OPCODES


@pytest.mark.parametrize("enum", [wire.Channel, wire.Command, wire.ErrorCode, wire.CloseCode, wire.Opcode])
def test_the_enums_are_whole_numbers_without_aliases(enum: type[IntEnum]) -> None:
    assert issubclass(enum, IntEnum)
    assert len(list(enum)) == len(enum.__members__)
    assert all(enum(member.value) is member for member in enum)
