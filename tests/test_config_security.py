"""The settings against strangers; what all settings have in common is tested with `config`."""

from __future__ import annotations

import pytest

from valtronics_fast.config import Config
from valtronics_fast.config_security import SecurityConfig


def test_origins_are_not_required_unless_it_is_said() -> None:
    assert not SecurityConfig().require_origin
    assert Config.load(environ={"VFAST_SECURITY__REQUIRE_ORIGIN": "true"}).security.require_origin


@pytest.mark.parametrize("section", ["security", "tls"])
def test_the_sections_stand_in_the_configuration(section: str) -> None:
    assert getattr(Config(), section) == type(getattr(Config(), section))()
