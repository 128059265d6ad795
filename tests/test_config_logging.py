from __future__ import annotations

import math

import pytest

from valtronics_fast import Config
from valtronics_fast.errors import ConfigError


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("0.01", 0.01), ("1", 1.0), ("0.5", 0.5), ("1e-3", 0.001)])
def test_a_fraction_of_the_messages(text: str, value: float) -> None:
    assert Config.load(environ={"VFAST_LOGGING__MESSAGES": text}).logging.messages == value
    assert Config.load({"logging": {"messages": value}}, environ={}).logging.messages == value


@pytest.mark.parametrize("text", ["1.01", "-0.1", "1%", "nan", "inf", "", "1e3", ".5", "yes"])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(ConfigError, match=r"logging\.messages must be a number from 0 to 1"):
        Config.load(environ={"VFAST_LOGGING__MESSAGES": text})


@pytest.mark.parametrize("value", [1.5, -1, math.nan, math.inf, True, "0.1"])
def test_what_is_no_fraction_in_a_file(value: object) -> None:
    with pytest.raises(ConfigError, match=r"logging\.messages must be a number from 0 to 1"):
        Config.load({"logging": {"messages": value}}, environ={})
