"""The settings against strangers; what all settings have in common is tested with `config`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.errors import ConfigError
from valtronics_fast.refusals import Reason


def test_origins_are_not_required_unless_it_is_said() -> None:
    assert not SecurityConfig().require_origin
    assert Config.load(environ={"VFAST_SECURITY__REQUIRE_ORIGIN": "true"}).security.require_origin


def test_nobody_is_banned_unless_it_is_said() -> None:
    assert SecurityConfig().ban_after == 0
    written = {"ban_after": 20, "ban_for": "1h", "suspects": 500}
    security = Config.load({"security": written}, environ={}).security
    assert (security.ban_after, security.ban_for, security.suspects) == (20, 3600.0, 500)


def test_the_page_about_security_names_settings_that_there_are() -> None:
    page = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
    sections = "|".join({key.split(".")[0] for key in SETTINGS if "." in key})
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)", page))
    assert named <= set(SETTINGS)
    assert {key for key in SETTINGS if key.startswith(("security.", "tls."))} - named == {"tls.certfile", "tls.keyfile"}
    labels = {reason.label for reason in Reason}
    proxies = ("untrusted_proxy", "proxy_header", "proxy_timeout")
    for label in (*proxies, "tls_timeout", "tls_failed", "tls_rate", "client_certificate"):
        assert f"`{label}`" in page
        assert label in labels


def test_the_table_of_suspects_has_a_bound() -> None:
    with pytest.raises(ConfigError, match=r"security\.suspects must be a whole number from 1"):
        Config.load({"security": {"suspects": 0}}, environ={})


@pytest.mark.parametrize("section", ["security", "tls"])
def test_the_sections_stand_in_the_configuration(section: str) -> None:
    assert getattr(Config(), section) == type(getattr(Config(), section))()
