"""What of the screen needs no terminal; tests/commands/test_top.py has the rest."""

from __future__ import annotations

import io

import pytest

from valtronics_fast.commands.screen import fit, usable


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("", 0, ""), ("abc", 3, "abc"), ("abc", 2, "ab"), ("a", 0, ""),
        ("日本語", 5, "日本"), ("日本語", 6, "日本語"), ("e\u0301x", 1, "e\u0301"),
    ],
)  # fmt: skip
def test_a_text_is_cut_at_columns(text: str, width: int, cut: str) -> None:
    assert fit(text, width) == cut


def test_what_is_no_terminal_is_not_drawn_on() -> None:
    assert not usable(io.StringIO())
