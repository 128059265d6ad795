from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme

from certificates import write_certificate
from command_line import no_variables
from valtronics_fast.config_source import ConfigSource
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["no_variables"]

pytestmark = pytest.mark.usefixtures("no_variables")


def faults(source: ConfigSource) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        source.load_for_start()
    return caught.value.problems


def test_it_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[server]\nport = 1\n")
    source = ConfigSource(str(path), {"http.port": "2"})
    config = source.load()
    assert (config.server.port, config.http.port) == (1, 2)
    path.write_text("\n[server]\nport = 3\n")
    monkeypatch.setenv("VFAST_LIMITS__FRAGMENTS", "4")
    config = source.load()
    assert (config.server.port, config.http.port, config.limits.fragments) == (3, 2, 4)
    assert source.found.locate("server.port") == f"{path}:3 [server] port"


def test_without_faults_it_is_good_for_a_start() -> None:
    source = ConfigSource(None, {})
    assert source.load_for_start() == source.load()


def test_keys_and_certificates_are_looked_at_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, path = tmp_path / "nothing.pem", tmp_path / "server.toml"
    pem.write_text("nothing")
    path.write_text(f"[auth]\npublic_key_file = '{pem}'\n\n[tls]\ncertfile = '{pem}'\n")
    monkeypatch.setenv("VFAST_AUTH__ALGORITHMS", "RS256")
    told = faults(ConfigSource(str(path), {"tls.keyfile": str(pem)}))
    assert told[0].startswith(f"{path}:2 [auth] public_key_file: auth.public_key_file must ")
    assert told[1:] == (
        f"{path}:5 [tls] certfile: tls.certfile must hold a certificate in PEM, with its chain behind it",
    )


def test_a_good_certificate(tmp_path: Path) -> None:
    files = write_certificate(trustme.CA(), tmp_path)
    source = ConfigSource(None, {f"tls.{name}": path for name, path in files.items()})
    assert source.load_for_start().tls.certfile == files["certfile"]


def test_only_faults_that_begin_with_a_setting_get_a_place() -> None:
    source = ConfigSource(None, {"server.port": "9"})
    source.load()
    assert source.place(["server.port must x", "server.prt must x", "flag --x: server.port y", ""]) == [
        "flag --port: server.port must x",
        "server.prt must x",
        "flag --x: server.port y",
        "",
    ]


@pytest.mark.parametrize(
    ("url", "extra", "library"),
    [("redis://redis", "redis", "redis"), ("unix:///run/redis", "redis", "redis"), ("nats://nats", "nats", "nats")],
)
def test_a_library_that_is_not_installed_is_told_with_what_to_install(url: str, extra: str, library: str) -> None:
    """A real process in which the library can't be imported, as when its extra was not installed."""
    program = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from valtronics_fast.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    name = "REDIS_URL" if extra == "redis" else "VFAST_BACKPLANE__URL"
    origin = f"alias {name}" if extra == "redis" else f"variable {name}"
    for command in ("check-config", "serve"):
        result = subprocess.run(
            [sys.executable, "-c", program, command], capture_output=True, text=True, timeout=60, env={name: url}
        )
        assert (result.returncode, result.stdout) == (2, "")
        told = f"{origin}: backplane.url must go with a library that is missing here"
        assert result.stderr.startswith(f"valtronics-fast: {told}: pip install 'valtronics-fast[{extra}]' (")
        assert len(result.stderr.splitlines()) == 1
