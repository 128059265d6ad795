from __future__ import annotations

import pytest

from harness import configuration
from valtronics_fast.config import Config
from valtronics_fast.errors import ConfigError

KEY = "4f1e8b07c2d95a63-of-the-operators"


def test_the_keys_are_masked() -> None:
    config = configuration(http={"admin_key": KEY, "api_key": "publishers-own"})
    assert config.http.admin_key == KEY
    assert KEY not in repr(config)
    assert "publishers-own" not in repr(config)


@pytest.mark.parametrize("key", ["short", "changeme" * 4, "x" * 40, f"{KEY} ", f"{KEY}é", KEY[:31]])
def test_an_admin_key_that_can_be_guessed_keeps_the_server_from_starting(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration(http={"admin_key": key})
    (problem,) = caught.value.problems
    assert "http.admin_key must be" in problem
    assert key not in problem


def test_publishers_do_not_have_the_key_of_administrators() -> None:
    with pytest.raises(ConfigError, match=r"must differ from http\.api_key"):
        configuration(http={"admin_key": KEY, "api_key": KEY})


@pytest.mark.parametrize(
    ("demo", "host", "given", "accepted"),
    [
        (True, "127.0.0.1", None, True),
        (True, "localhost", None, True),
        (True, "0.0.0.0", None, False),
        (True, "127.0.0.1", False, False),
        (False, "127.0.0.1", None, False),
        (False, "0.0.0.0", True, True),
    ],
)
def test_a_demo_on_loopback_takes_admin_tokens(demo: bool, host: str, given: bool | None, accepted: bool) -> None:
    sections: dict[str, dict[str, object]] = {"http": {"host": host}}
    if given is not None:
        sections["auth"] = {"admin_tokens": given}
    config = Config.load(sections, flags={"demo": demo or None}, environ={})
    assert config.auth.admin_tokens is accepted
