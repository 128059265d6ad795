from __future__ import annotations

import io
import json
import logging
import re
import sys
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valtronics_fast.logging import (
    MAX_TEXT,
    MAX_TRACE_LINES,
    JsonFormatter,
    TextFormatter,
    escape,
    fields,
    setup,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
HOSTILE = 'a\nb\r\x00\x1b[2J\x7f\x85\u2028\u2029\u202e\udc80\\"= '


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Put back what `setup` changes."""
    root, package = logging.getLogger(), logging.getLogger("valtronics_fast")
    handlers, levels = list(root.handlers), (root.level, package.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    package.setLevel(levels[1])


def record(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    logger = logging.getLogger("valtronics_fast.test")
    return logger.makeRecord(logger.name, logging.INFO, __file__, 1, message, args, None, extra=extra)


def text_line(message: str, *args: object, **values: Any) -> str:
    return TextFormatter().format(record(message, *args, **fields(**values)))


def json_line(message: str, *args: object, **values: Any) -> dict[str, Any]:
    line = JsonFormatter().format(record(message, *args, **fields(**values)))
    assert "\n" not in line
    parsed = json.loads(line)
    assert isinstance(parsed, dict)
    return parsed


def test_a_text_line_has_time_level_logger_message_and_fields() -> None:
    line = text_line("connected to %s", "x", connection=3, address="127.0.0.1", ok=True, none=None, load=0.5)
    expected = (
        TIME + r" INFO valtronics_fast\.test: connected to x "
        r"connection=3 address=127\.0\.0\.1 ok=true none=null load=0\.5"
    )
    assert re.fullmatch(expected, line), line


def test_a_json_line_has_time_level_logger_message_and_fields() -> None:
    line = json_line("connected to %s", "x", connection=3, address="127.0.0.1", ok=True, none=None, load=0.5)
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "valtronics_fast.test",
        "message": "connected to x",
        "connection": 3,
        "address": "127.0.0.1",
        "ok": True,
        "none": None,
        "load": 0.5,
    }


def test_the_time_is_utc() -> None:
    made = record("x")
    made.created = 1704110400.123
    assert TextFormatter().format(made).startswith("2024-01-01T12:00:00.123Z ")
    assert json.loads(JsonFormatter().format(made))["time"] == "2024-01-01T12:00:00.123Z"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 温度 °C", "plain é 温度 °C"),
        ("\n\r\t", "\\n\\r\\t"),
        ("\x00\x1b\x7f\x9b", "\\x00\\x1b\\x7f\\x9b"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202e\u2066\ufeff", "\\u202e\\u2066\\ufeff"),
        ("\udc80\ud83d", "\\udc80\\ud83d"),
    ],
)
def test_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text(st.characters(exclude_categories=())))
@example(HOSTILE)
@example("x\n2024-01-01T12:00:00.000Z INFO forged: line")
def test_no_value_ends_or_rewrites_a_line(text: str) -> None:
    made = record("%s", text, **fields(value=text, other=[text]))
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        assert escape(line) == line
        line.encode()
    parsed = json.loads(JsonFormatter().format(made))
    assert escape(parsed["value"]) == parsed["value"]


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_a_text_value_is_never_taken_for_another_field(text: str, other: str) -> None:
    line = TextFormatter().format(record("x", **fields(a=text, b=other)))
    pairs = re.findall(r' (\w+)=("(?:[^"\\]|\\.)*"|[^\s"\\=]+)', line.partition(": x")[2])
    assert [name for name, _ in pairs] == ["a", "b"]
    assert "".join(f" {name}={value}" for name, value in pairs) == line.partition(": x")[2]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a\nb", '"a\\nb"'),
        ("\u2028", '"\\u2028"'),
        ("°C", "°C"),
        (float("nan"), "null"),
        (2**63, str(2**63)),
        (-(2**63), str(-(2**63))),
        ([1, "a"], "\"[1, 'a']\""),
        (b"\xff", "\"b'\\\\xff'\""),
    ],
)
def test_values_in_text(value: object, written: str) -> None:
    assert text_line("x", v=value).endswith(f": x v={written}")


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    BAD = "bad_signature"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (10**30, str(10**30)),
        (float("inf"), None),
        (Number.ONE, 1),
        (Word.BAD, "bad_signature"),
        ({"a": 1}, "{'a': 1}"),
        ("a\nb", "a\\nb"),
    ],
)
def test_values_in_json(value: object, written: object) -> None:
    assert json_line("x", v=value)["v"] == written


def test_long_texts_are_cut() -> None:
    assert json_line("y" * 3000, v="x" * 3000) | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "valtronics_fast.test",
        "message": "y" * MAX_TEXT + f"... ({3000 - MAX_TEXT} more)",
        "v": "x" * MAX_TEXT + f"... ({3000 - MAX_TEXT} more)",
    }
    assert len(text_line("\x00" * 10**6, v="\x00" * 10**6)) < 10 * MAX_TEXT


def test_a_field_does_not_replace_what_every_line_has() -> None:
    line = json.loads(JsonFormatter().format(record("x", fields={"message": "y", "level": "z", "time": 0})))
    assert (line["message"], line["message_"], line["level_"], line["time_"]) == ("x", "y", "z", 0)


def test_records_of_libraries_have_no_fields() -> None:
    assert TextFormatter().format(record("x")).endswith(": x")
    assert TextFormatter().format(record("x", fields="not ours")).endswith(": x")


def fail(text: str) -> logging.LogRecord:
    def cause() -> None:
        raise RuntimeError(text)

    made = record("failed")
    try:
        cause()
    except RuntimeError:
        made.exc_info = sys.exc_info()
    return made


def test_a_traceback_is_indented_in_text() -> None:
    first, *rest = TextFormatter().format(fail("boom\n2024-01-01T12:00:00.000Z INFO x: forged\x1b")).split("\n")
    assert first.endswith(": failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == "    2024-01-01T12:00:00.000Z INFO x: forged\\x1b"


def test_a_traceback_is_a_field_in_json() -> None:
    line = JsonFormatter().format(fail("boom\n\x1b\u2028"))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["traceback"].endswith("RuntimeError: boom\n\\x1b\\u2028")


def test_a_traceback_is_bounded() -> None:
    lines = TextFormatter().format(fail("x\n" * 10_000)).split("\n")
    assert len(lines) == 1 + MAX_TRACE_LINES
    assert max(map(len, TextFormatter().format(fail("x" * 10_000)).split("\n"))) < MAX_TEXT + 100


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "stream", "as_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_setup_chooses_the_form(form: str, stream: io.StringIO, as_json: bool) -> None:
    setup("info", form, stream)
    logging.getLogger("valtronics_fast.server").info("started", extra=fields(port=8000))
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line.startswith("{") == as_json
    assert ('"port":8000' if as_json else "port=8000") in line


def test_setup_replaces_what_it_set_up_before_and_nothing_else() -> None:
    first, second, foreign = io.StringIO(), io.StringIO(), logging.NullHandler()
    logging.getLogger().addHandler(foreign)
    setup("info", "text", first)
    setup("info", "text", second)
    logging.getLogger("valtronics_fast").info("x")
    assert (first.getvalue(), len(second.getvalue().splitlines())) == ("", 1)
    assert foreign in logging.getLogger().handlers


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_setup_sets_the_level_of_the_package(level: str, lines: int) -> None:
    stream = io.StringIO()
    setup(level, "text", stream)
    logger = logging.getLogger("valtronics_fast.server")
    for call in (logger.debug, logger.info, logger.warning, logger.error):
        call("x")
    assert len(stream.getvalue().splitlines()) == lines


def test_libraries_log_no_details_at_any_level() -> None:
    stream = io.StringIO()
    setup("debug", "text", stream)
    logger = logging.getLogger("picows")
    logger.debug("GET /ws Authorization: Bearer hunter2")
    logger.info("GET /ws Authorization: Bearer hunter2")
    assert stream.getvalue() == ""
    logger.warning("something is wrong")
    assert "something is wrong" in stream.getvalue()


def test_setup_logs_to_the_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    setup()
    logging.getLogger("valtronics_fast").info("x")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "x"
