from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_load import Found
from valtronics_fast.config_print import print_toml
from valtronics_fast.config_schema import make_schema
from valtronics_fast.units import DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN

SCHEMA = make_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
IN_FILES = sorted(key for key, setting in SETTINGS.items() if setting.section)


def of(key: str, value: object) -> dict[str, dict[str, object]]:
    section, name = key.split(".")
    return {section: {name: value}}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_has_every_setting_that_a_file_may_have() -> None:
    known = [f"{section}.{name}" for section, one in SCHEMA["properties"].items() for name in one["properties"]]
    assert sorted(known) == IN_FILES


@pytest.mark.parametrize("key", IN_FILES)
def test_each_setting_says_what_it_is(key: str) -> None:
    section, name = key.split(".")
    one = SCHEMA["properties"][section]["properties"][name]
    assert one["description"].startswith(SETTINGS[key].description)
    assert SETTINGS[key].convert(one["default"]) == SETTINGS[key].default
    assert VALIDATOR.is_valid(of(key, one["default"]))
    assert one.get("writeOnly", False) is bool(SETTINGS[key].sensitive)


def test_the_default_document_is_good() -> None:
    VALIDATOR.validate(tomllib.loads(print_toml(Config(), Found())))
    VALIDATOR.validate({})


GOOD = """
[server]
port = 9000
ping_interval = 12.5
drain_window = "1m"
[limits]
connection_rate = 0
frame_size = "1MiB"
message_size = 2048
[auth]
algorithms = ["RS256", "ES256"]
default_scope = "none"
[mqtt]
topics = ["a/{device}/b => telemetry"]
[logging]
messages = 0.01
"""


def test_a_good_document() -> None:
    document = tomllib.loads(GOOD)
    VALIDATOR.validate(document)
    for section, values in document.items():
        for name, value in values.items():
            SETTINGS[f"{section}.{name}"].convert(value)


@pytest.mark.parametrize(
    "document",
    [
        "[sever]",
        "demo = true",
        "server = 5",
        "[[server]]",
        "[server]\nprot = 1",
        "[server]\nport = '8000'",
        "[server]\nport = 65536",
        "[server]\nport = -1",
        "[server]\nport = true",
        "[server]\nport = 1.5",
        "[server]\ncompression = 1",
        "[server]\nping_interval = '5 parsecs'",
        "[server]\nping_interval = -1",
        "[server]\nping_interval = 1e9",
        "[server]\nping_interval = true",
        "[server]\nping_interval = 07:32:00",
        "[limits]\nconnection_rate = 5",
        "[limits]\nconnection_rate = '5'",
        "[limits]\nframe_size = '64KB'",
        "[limits]\nframe_size = 1.5",
        "[limits]\nframe_size = 2147483648",
        "[auth]\nalgorithms = 'HS256'",
        "[auth]\nalgorithms = [1]",
        "[auth]\ndefault_scope = 'some'",
        "[auth]\nsecret = 5",
        "[logging]\nmessages = '0.5'",
        "[logging]\nmessages = 1.5",
    ],
)
def test_bad_documents(document: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(document))


ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=3)
    | st.integers(0, 70_000) | st.floats(0, 400 * 86400)
    | st.from_regex(DURATION_PATTERN) | st.from_regex(SIZE_PATTERN) | st.from_regex(RATE_PATTERN)
)  # fmt: skip


@given(st.sampled_from(IN_FILES), ANY)
def test_it_takes_what_the_server_takes(key: str, value: Any) -> None:
    try:
        SETTINGS[key].convert(value)
    except ValueError:
        return
    assert VALIDATOR.is_valid(of(key, value))
