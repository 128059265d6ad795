"""The settings against strangers; what all settings have in common is tested with `config`."""

from __future__ import annotations

import pytest

from valtronics_fast.config import Config
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.errors import ConfigError


def test_origins_are_not_required_unless_it_is_said() -> None:
    assert not SecurityConfig().require_origin
    assert Config.load(environ={"VFAST_SECURITY__REQUIRE_ORIGIN": "true"}).security.require_origin


def test_nobody_is_banned_unless_it_is_said() -> None:
    assert SecurityConfig().ban_after == 0
    written = {"ban_after": 20, "ban_for": "1h", "suspects": 500}
    security = Config.load({"security": written}, environ={}).security
    assert (security.ban_after, security.ban_for, security.suspects) == (20, 3600.0, 500)


def test_the_table_of_suspects_has_a_bound() -> None:
    with pytest.raises(ConfigError, match=r"security\.suspects must be a whole number from 1"):
        Config.load({"security": {"suspects": 0}}, environ={})


@pytest.mark.parametrize("section", ["security", "tls"])
def test_the_sections_stand_in_the_configuration(section: str) -> None:
    assert getattr(Config(), section) == type(getattr(Config(), section))()
