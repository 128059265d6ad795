from __future__ import annotations

import pytest

from valtronics_fast.commands.parsing import EXIT_CONFIG, Parser, complain, parse_time, split


def test_flags_are_not_abbreviated_and_a_mistake_says_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="valtronics-fast thing")
    parser.add_argument("--colour", action="store_true")
    assert parser.parse_args(["--colour"]).colour
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--col"])
    assert ended.value.code == EXIT_CONFIG
    told = capsys.readouterr().err
    assert told == "valtronics-fast: unrecognized arguments: --col (see valtronics-fast thing --help)\n"


def test_problems_are_a_line_each_whatever_they_quote(capsys: pytest.CaptureFixture[str]) -> None:
    complain(["first\x1b[2J\nline", "second"])
    lines = capsys.readouterr().err.splitlines()
    assert [line.isprintable() for line in lines] == [True, True]
    assert [line.partition(": ")[0] for line in lines] == ["valtronics-fast", "valtronics-fast"]


def test_lists() -> None:
    assert split(" a, b,,c ") == ["a", "b", "c"]
    assert split(" ,") == []


def test_durations() -> None:
    assert parse_time("expires", "90s") == 90.0
    with pytest.raises(ValueError, match=r"^expires: .*, not 'soon'$"):
        parse_time("expires", "soon")
