"""The settings of the log: the section `logging`."""

from __future__ import annotations

from typing import Annotated, Literal

from valtronics_fast.setting import Fraction, Section, setting

__all__ = ["LoggingConfig"]


class LoggingConfig(Section, frozen=True, kw_only=True):
    """What is logged, and in which form."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        setting("The least severe lines that are logged.", flag="--log-level"),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        setting("Form of the lines; auto is text on a terminal and json elsewhere."),
    ] = "auto"
    messages: Annotated[
        Fraction,
        setting(
            "How many of the messages from and to clients are logged, picked at random: their type, channel and size, "
            "not what is in them (docs/operations.md).",
            zero="none",
        ),
    ] = 0.0
