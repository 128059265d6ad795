from __future__ import annotations

import re
import shlex

import msgspec
import pytest

from valtronics_fast.banner import render
from valtronics_fast.config import Config

TOKEN = "aaa.bbb.ccc"


def text_of(config: Config | None = None, *, token: str = TOKEN, secret_made_up: bool = True) -> str:
    return render(
        config or Config(),
        version="1.2.3",
        port=8000,
        http_port=8001,
        token=token,
        secret_made_up=secret_made_up,
    )


def with_section(config: Config, name: str, **values: object) -> Config:
    return msgspec.structs.replace(config, **{name: msgspec.structs.replace(getattr(config, name), **values)})


def commands_of(text: str) -> dict[str, list[str]]:
    lines = (shlex.split(line) for line in text.splitlines() if re.match(r"  (wscat|websocat) ", line))
    return {words[0]: words[1:] for words in lines}


def test_it_says_where_the_server_is() -> None:
    text = text_of()
    assert "valtronics_fast 1.2.3 is running" in text
    assert "ws://127.0.0.1:8000/ws\n" in text
    assert "http://127.0.0.1:8001/health/ready" in text
    assert "http://127.0.0.1:8001/api/v1/stats" in text


def test_its_commands_can_be_pasted() -> None:
    header = "Authorization: Bearer aaa.bbb.ccc"
    assert commands_of(text_of()) == {
        "wscat": ["-c", "ws://127.0.0.1:8000/ws/system", "-H", header],
        # -H takes all that follows, so that it is last
        "websocat": ["ws://127.0.0.1:8000/ws/system", "-H", header],
    }


def test_a_demo_shows_telemetry() -> None:
    config = msgspec.structs.replace(Config(), demo=True)
    assert commands_of(text_of(config))["websocat"][0] == "ws://127.0.0.1:8000/ws/telemetry"
    assert "simulated" in text_of(config)
    assert "simulated" not in text_of()


def test_a_made_up_secret_is_told() -> None:
    assert "random secret was made up" in text_of()
    assert "VFAST_AUTH__SECRET" in text_of()
    assert "made up" not in text_of(secret_made_up=False)


def test_without_a_token_there_is_nothing_to_paste() -> None:
    text = text_of(token="", secret_made_up=False)
    assert commands_of(text) == {}
    assert "token" not in text


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("localhost", "localhost"),
        ("192.0.2.5", "192.0.2.5"),
    ],
)
def test_addresses_can_be_reached_from_this_machine(host: str, shown: str) -> None:
    text = text_of(with_section(with_section(Config(), "server", host=host), "http", host=host))
    assert f"ws://{shown}:8000/ws\n" in text
    assert f"http://{shown}:8001/" in text


def test_with_a_certificate_the_scheme_is_wss() -> None:
    text = text_of(with_section(Config(), "tls", certfile="c.pem", keyfile="k.pem"))
    assert "wss://127.0.0.1:8000/ws\n" in text
    assert "ws://" not in text.replace("wss://", "")
    assert "http://127.0.0.1:8001/" in text


def test_secrets_of_the_configuration_are_not_in_it() -> None:
    config = with_section(with_section(Config(), "auth", secret="hunter2"), "http", api_key="hunter2")
    assert "hunter2" not in text_of(config)
