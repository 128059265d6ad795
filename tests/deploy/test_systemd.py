"""deploy/systemd: read by systemd, and the service's command run on sockets that systemd's own program passes to it."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from deployed import DEPLOY, assert_settings, moved
from harness import SECRET, TIMEOUT, Client, configuration, http, telemetry
from process import environment
from services import free_port, program
from valtronics_fast import Config
from valtronics_fast.inherited import HTTP, WEBSOCKET
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SYSTEMD = DEPLOY / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.suffix in {".service", ".socket"})
KEY = "a-key-of-the-backend"
MOST_EXPOSED = 1.5
"""Of 10; what is left is that it speaks to the Internet, and reads the figures of the host."""


def unit(name: str) -> dict[str, dict[str, str]]:
    """Return the sections of a unit; of what stands in one several times, the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(SYSTEMD / name)
    return {section: dict(parser[section]) for section in parser.sections()}


SERVICE = unit("valtronics-fast.service")["Service"]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a copy of the units in which the program is one that is there."""
    place = tmp_path / "units"
    place.mkdir()
    for name in UNITS:
        shutil.copy(SYSTEMD / name, place)
    service = place / "valtronics-fast.service"
    service.write_text(moved(service.read_text(), {r"(?<=ExecStart=)\S+": sys.executable}))
    return place


def analyzed(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_wrong_with_them(units: Path) -> None:
    done = analyzed("verify", *units.iterdir())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_little_that_the_service_may_do(units: Path) -> None:
    done = analyzed("security", "--offline=true", units / "valtronics-fast.service")
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    assert float(match[1]) <= MOST_EXPOSED, done.stdout


def test_the_sockets_have_the_names_and_ports_that_the_server_knows() -> None:
    sockets = [unit(name)["Socket"] for name in UNITS if name.endswith(".socket")]
    defaults = Config()
    expected = {WEBSOCKET: f"0.0.0.0:{defaults.server.port}", HTTP: f"{defaults.http.host}:{defaults.http.port}"}
    assert {each["FileDescriptorName"]: each["ListenStream"] for each in sockets} == expected
    assert {each["Service"] for each in sockets} == {"valtronics-fast.service"}
    assert set(SERVICE["Sockets"].split()) == {name for name in UNITS if name.endswith(".socket")}


def test_it_has_the_time_and_the_descriptors_that_it_needs() -> None:
    config = Config.load(SYSTEMD / "server.toml", environ={"VFAST_AUTH__SECRET": SECRET})
    longest = max(config.server.drain_window, Config().server.drain_window)
    assert int(SERVICE["TimeoutStopSec"]) > longest + 15 + 12
    assert int(SERVICE["LimitNOFILE"]) >= 4 * config.limits.connections


def test_its_variables_are_settings_and_its_secrets_are_handed_over() -> None:
    variables = dict(word.split("=") for word in SERVICE["Environment"].split())
    assert_settings(variables)
    loaded = re.findall(r"^LoadCredential=([\w-]+):", (SYSTEMD / "valtronics-fast.service").read_text(), re.MULTILINE)
    assert sorted(variables.values()) == sorted(f"%d/{name}" for name in loaded)


@contextlib.asynccontextmanager
async def activated(directory: Path, *before: str) -> AsyncIterator[tuple[int, int, asyncio.subprocess.Process]]:
    """Have the service's command started at the first connection, as systemd does; return the ports and the process.

    Args:
        directory: for credentials and the configuration.
        before: what the program is called by.
    """
    (directory / "auth-secret").write_text(SECRET)
    (directory / "api-key").write_text(KEY)
    (directory / "server.toml").write_text((SYSTEMD / "server.toml").read_text())
    ports = {WEBSOCKET: free_port(), HTTP: free_port()}
    variables = dict(word.split("=") for word in SERVICE["Environment"].replace("%d", str(directory)).split())
    places = {r"^\S+": f"{sys.executable} -m valtronics_fast", "/etc/valtronics-fast": directory}
    listening = [word for port in ports.values() for word in ("--listen", f"127.0.0.1:{port}")]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("systemd-socket-activate", "systemd"), *listening, f"--fdname={':'.join(ports)}",
            *[f"--setenv={name}" for name in os.environ if name.startswith("PYTHON")],
            *[f"--setenv={name}={value}" for name, value in variables.items()],
            *before, *moved(SERVICE["ExecStart"], places).split(),
            stdout=asyncio.subprocess.DEVNULL, stderr=log, env=environment(),
        )  # fmt: skip
    try:
        yield *ports.values(), process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def served(ports: tuple[int, int]) -> None:
    """Show that a client gets what is published."""
    url = f"http://127.0.0.1:{ports[1]}"
    async with asyncio.timeout(TIMEOUT):
        while True:  # systemd-socket-activate listens a moment after it was started
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", ports[1]), 1).close()
                break
            await asyncio.sleep(0.02)
    assert (await http("GET", f"{url}/health/live"))[0] == 200
    async with connect(f"ws://127.0.0.1:{ports[0]}/ws", proxy=None) as connection:
        client = Client(connection)
        await client.authenticate(mint(configuration().auth, "alice"))
        await client.subscribe("telemetry")
        await http("POST", f"{url}/api/v1/publish", json=telemetry(7, rpm=1), headers={"X-API-Key": KEY})
        assert (await client.receive())["device_id"] == 7


async def test_its_command_serves_on_the_sockets_reloads_and_ends(tmp_path: Path) -> None:
    async with activated(tmp_path) as (websocket, http_port, process):
        await served((websocket, http_port))
        assert SERVICE["ExecReload"] == "/bin/kill -HUP $MAINPID"
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(TIMEOUT):
            while '"message":"reloaded"' not in (tmp_path / "log").read_text():
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


def allowed_calls() -> set[str]:
    """Return the system calls that the service's filter lets through, as systemd knows its groups."""

    def group(name: str) -> set[str]:
        calls: set[str] = set()
        for line in analyzed("syscall-filter", name).stdout.splitlines()[1:]:
            word = line.strip()
            if word.startswith("@"):
                calls |= group(word)
            elif word and not word.startswith("#"):
                calls.add(word)
        return calls

    text = (SYSTEMD / "valtronics-fast.service").read_text()
    allowed, *rest = re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE)
    calls = group(allowed)
    for line in rest:
        assert line.startswith("~")
        calls -= set().union(*map(group, line.removeprefix("~").split()))
    return calls | group("@default")


async def test_what_it_asks_of_the_kernel_passes_the_filter(tmp_path: Path) -> None:
    """strace (as a grandchild: the sockets are for a process id) lists it from the start to the end of the drain."""
    trace = tmp_path / "trace"
    strace = (program("strace", "strace"), "-D", "-f", "-o", str(trace))
    async with activated(tmp_path, *strace) as (websocket, http_port, process):
        await served((websocket, http_port))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT):
            await process.wait()
    text = trace.read_text()
    calls = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert {"epoll_wait", "accept4"} <= calls or "epoll_pwait" in calls
    assert calls - allowed_calls() == set()
    families = set(re.findall(r"^\d+ +socket(?:pair)?\((\w+)", text, re.MULTILINE))
    assert families <= set(SERVICE["RestrictAddressFamilies"].split())


def test_the_configuration_beside_it_is_one() -> None:
    text = (SYSTEMD / "server.toml").read_text()
    config = Config.load(tomllib.loads(text), environ={})
    assert config.security.trusted_proxies == ("127.0.0.1",)
