"""The settings of the backplane; what all settings have in common is tested with `config`."""

from __future__ import annotations

import pytest

from valtronics_fast.config import Config
from valtronics_fast.config_backplane import BackplaneConfig
from valtronics_fast.errors import ConfigError


def test_everything_that_is_kept_or_waits_is_bounded_by_default() -> None:
    backplane = BackplaneConfig()
    assert all(getattr(backplane, name) for name in ("entries", "size", "queue", "buffer", "patience"))


@pytest.mark.parametrize(("name", "value"), [("entries", 0), ("buffer", "1KiB"), ("prefix", "a b"), ("url", "x://")])
def test_what_can_not_be_used_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"backplane.{name}"):
        Config.load({"backplane": {name: value}}, environ={})
