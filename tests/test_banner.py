from __future__ import annotations

import asyncio
import itertools
import re
import shlex
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from services import free_port
from valtronics_fast.banner import render
from valtronics_fast.config import Config
from valtronics_fast.producers.simulated import SimulatedFleet
from variables import without_settings

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "aaa.bbb.ccc"
TIMEOUT = 30.0


def text_of(config: Config | None = None, *, token: str = TOKEN, secret_made_up: bool = True) -> str:
    config = config or Config()
    return render(
        config,
        version="1.2.3",
        host=config.server.host,
        port=8000,
        http_host=config.http.host,
        http_port=8001,
        token=token,
        secret_made_up=secret_made_up,
    )


def with_section(config: Config, name: str, **values: object) -> Config:
    return msgspec.structs.replace(config, **{name: msgspec.structs.replace(getattr(config, name), **values)})


def commands_of(text: str) -> dict[str, list[str]]:
    """Return the lines to paste, in order: program -> its arguments."""
    lines = (shlex.split(line) for line in text.splitlines() if re.match(r"  (wscat |websocat |.* subscribe )", line))
    return {words[0]: words[1:] for words in lines}


def subscription_of(text: str) -> list[str]:
    """Return the arguments of `subscribe`."""
    arguments = next(iter(commands_of(text).values()))
    assert arguments[:3] == ["-m", "valtronics_fast", "subscribe"]
    return arguments[3:]


def test_it_says_where_the_server_is() -> None:
    text = text_of()
    assert "valtronics_fast 1.2.3 is running" in text
    assert "ws://127.0.0.1:8000/ws\n" in text
    assert "http://127.0.0.1:8001/health/ready" in text
    assert "http://127.0.0.1:8001/api/v1/stats" in text
    assert "  Dashboard  http://127.0.0.1:8001/\n" in text
    assert "Dashboard" not in text_of(with_section(Config(), "http", dashboard=False))


def test_its_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the interpreter does not lie below it
    header = "Authorization: Bearer aaa.bbb.ccc"
    assert commands_of(text_of()) == {
        sys.executable: [
            "-m", "valtronics_fast", "subscribe", "system", "--url", "ws://127.0.0.1:8000/ws", "--token", TOKEN,
        ],
        "wscat": ["-c", "ws://127.0.0.1:8000/ws/system", "-H", header],
        # -H takes all that follows, so that it is last
        "websocat": ["ws://127.0.0.1:8000/ws/system", "-H", header],
    }  # fmt: skip
    assert next(iter(commands_of(text_of()))) == sys.executable, "what needs nothing installed comes first"


@pytest.mark.parametrize(
    ("executable", "directory", "shown"),
    [
        ("project/.venv/bin/python", "project", ".venv/bin/python"),
        ("project/.venv/bin/python", "elsewhere", None),
        ("bin/python", "bin", "./python"),
        ("a b/bin/python", "a b", "bin/python"),
        ("a b/c d/python", "a b", "c d/python"),
        ("a b/bin/python", "elsewhere", None),
    ],
)
def test_the_program_is_named_as_short_as_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executable: str, directory: str, shown: str | None
) -> None:
    (tmp_path / directory).mkdir()
    monkeypatch.chdir(tmp_path / directory)
    monkeypatch.setattr(sys, "executable", str(tmp_path / executable))
    text = text_of()
    assert next(iter(commands_of(text))) == shown or str(tmp_path / executable)
    assert ("in this directory" in text) == (shown is not None)


def test_a_directory_that_is_gone_is_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    assert sys.executable in commands_of(text_of())


def test_a_demo_shows_telemetry() -> None:
    config = msgspec.structs.replace(Config(), demo=True)
    assert commands_of(text_of(config))["websocat"][0] == "ws://127.0.0.1:8000/ws/telemetry"
    assert "simulated" in text_of(config)
    assert subscription_of(text_of(config))[-4:] == ["--url", "ws://127.0.0.1:8000/ws", "--token", TOKEN]
    assert "simulated" not in text_of()


def test_a_demo_shows_devices_that_something_happens_to() -> None:
    arguments = subscription_of(text_of(msgspec.structs.replace(Config(), demo=True)))
    shown = {int(value) for flag, value in itertools.pairwise(arguments) if flag == "--device"}
    metrics = {value for flag, value in itertools.pairwise(arguments) if flag == "--metric"}
    fleet = SimulatedFleet(seed=1)
    said = [message for second in range(60) for message in fleet.step(1e9 + second) if second]
    events = [message for message in said if message["type"] != "telemetry_update"]
    assert shown <= {event["device_id"] for event in events}
    alerts = {event.get("alert_type") for event in events if event["device_id"] in shown}
    assert {"high_temperature", "low_battery", "device_offline"} <= alerts
    assert metrics == {"temperature", "battery"}


async def test_the_line_works_as_it_is(tmp_path: Path) -> None:
    """The path that a newcomer takes: start the demo, paste the line, see telemetry, press Ctrl-C."""
    pipe = asyncio.subprocess.PIPE
    options = ("--demo", "--port", str(free_port()), "--http-port", str(free_port()))
    environment = without_settings()
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "valtronics_fast", *options, stdout=pipe, stderr=pipe, cwd=tmp_path, env=environment
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT):
            while b" subscribe " not in (pasted := await server.stdout.readline()):
                assert pasted, "the server ended"
        client = await asyncio.create_subprocess_exec(
            *shlex.split(pasted.decode()), stdout=pipe, stderr=pipe, cwd=tmp_path, env=environment
        )
        assert client.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT):
                lines = [(await client.stdout.readline()).decode() for _ in range(3)]
            client.send_signal(signal.SIGINT)
            _, told = await asyncio.wait_for(client.communicate(), TIMEOUT)
        finally:
            if client.returncode is None:
                client.kill()
                await client.communicate()
        for line in lines:
            assert re.fullmatch(r"\d\d:\d\d:\d\d  device (3|10|24) +(temperature .+ °C  battery .+ %|\S.*)\n", line)
        assert any("temperature" in line for line in lines)
        assert (client.returncode, b"Traceback" in told) == (0, False)
    finally:
        server.kill()
        await server.communicate()


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
