from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_load import Found, gather
from valtronics_fast.config_print import print_env, print_toml
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
SECRETS = {
    "VFAST_AUTH__SECRET": SECRET,
    "VFAST_HTTP__API_KEY": "hunter2-key",
    "VFAST_MQTT__URL": "mqtt://alice:hunter2@broker",
    "VFAST_BACKPLANE__URL": "redis://:hunter2@redis?password=hunter2",
}
# Values of every kind, and texts that files and shells could take for something else.
SOURCE: dict[str, dict[str, object]] = {
    "server": {"port": 9000, "ping_interval": 0.25, "compression": True},
    "limits": {"connection_rate": "0", "frame_size": 1000, "queue_size": "3MiB", "min_interval": "90s"},
    "auth": {
        "audience": "a \"b\" \\ 'c' $HOME `id` # !x % é  ",
        "issuer": "=[x]\\",
        "default_scope": "none",
        "algorithms": ["HS256"],
    },
    "mqtt": {"topics": ["a,b/{device} => telemetry", "c/{device} => status"], "client_id": "$(id)"},
    "logging": {"messages": 1e-7},
    "security": {"origins": ["https://*.example.org", "null"]},
}


def loaded(source: Any = SOURCE, **environ: str) -> tuple[Config, Found]:
    found = gather(SETTINGS, source, {}, environ)
    return Config.of(found), found


def without_secrets(config: Config) -> Config:
    for key, setting in SETTINGS.items():
        if setting.sensitive:
            section, name = key.split(".")
            changed = msgspec.structs.replace(getattr(config, section), **{name: setting.default})
            config = msgspec.structs.replace(config, **{section: changed})
    return config


def by_shell(path: Path) -> Mapping[str, str]:
    """Return the variables of a file as a shell reads them."""
    program = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(k + b'=' + v for k, v in os.environb.items()))"
    command = ["sh", "-c", f'set -a; . "{path}"; exec "{sys.executable}" -c "$1"', "sh", program]
    out = subprocess.run(command, capture_output=True, check=True, env={"HOME": "/h", "LC_ALL": "C.UTF-8"}).stdout
    return dict(entry.decode().split("=", 1) for entry in out.split(b"\0"))


def test_the_document_is_a_configuration_file_with_the_same_settings(tmp_path: Path) -> None:
    config, found = loaded()
    path = tmp_path / "printed.toml"
    path.write_text(print_toml(config, found), encoding="utf-8")
    assert Config.load(path, environ={}) == config
    assert config.limits.connection_rate == Rate(0, 1.0)


def test_the_environment_file_has_the_same_settings_for_a_shell(tmp_path: Path) -> None:
    config, found = loaded()
    path = tmp_path / "printed.env"
    path.write_text(print_env(config, found), encoding="utf-8")
    assert Config.load(environ=by_shell(path)) == config


@pytest.mark.parametrize("environ", [{}, SECRETS])
def test_every_setting_is_in_it_with_its_origin(environ: dict[str, str]) -> None:
    config, found = loaded(**environ)
    toml, env = print_toml(config, found), print_env(config, found)
    for key, setting in SETTINGS.items():
        origin = re.escape(found.locate(key))
        hidden = setting.variable in environ
        name = setting.name if setting.section else setting.flag
        assert re.search(rf"^(# )?{name} .*  # {origin}$", toml, re.MULTILINE), key
        if not setting.section:
            assert f"# default: {setting.flag} is false, and a flag alone\n" in env
        elif hidden:
            assert f"# {found.locate(key)}: {setting.variable} is set, but not shown\n" in env
        else:
            assert re.search(rf"^# {origin}\n{setting.variable}=", env, re.MULTILINE), key
    sections = [key for key, value in tomllib.loads(toml).items() if isinstance(value, dict)]
    assert sections == list(dict.fromkeys(one.section for one in SETTINGS.values() if one.section))


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_no_part_of_a_secret_is_printed(secret: str) -> None:
    config, found = loaded(**{secret: SECRETS[secret]})
    for text in (print_toml(config, found), print_env(config, found)):
        for part in ("hunter2", "alice", SECRET[:4], "***"):
            assert part not in text
    assert "broker" not in print_toml(config, found)


def test_with_its_secrets_added_what_is_printed_is_the_same_again(tmp_path: Path) -> None:
    config, found = loaded(**SECRETS)
    toml, env = tmp_path / "printed.toml", tmp_path / "printed.env"
    toml.write_text(print_toml(config, found), encoding="utf-8")
    env.write_text(print_env(config, found), encoding="utf-8")
    assert Config.load(toml, environ=SECRETS) == config
    assert Config.load(environ={**by_shell(env), **SECRETS}) == config
    assert Config.load(toml, environ={}) == without_secrets(config)


def test_addresses_without_credentials_are_shown() -> None:
    config, found = loaded({"mqtt": {"url": "mqtt://broker"}})
    assert 'url = "mqtt://broker"  # mapping [mqtt] url\n' in print_toml(config, found)
    assert "VFAST_MQTT__URL=mqtt://broker\n" in print_env(config, found)


def test_an_origin_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nport = 5.toml"
    path.write_text("[server]\nhost = '::1'\n")
    config, found = loaded(path)
    assert tomllib.loads(print_toml(config, found))["server"]["port"] == 8000
    assert orjson.dumps(f"{tmp_path}/a\nport = 5.toml:2 [server] host").decode()[1:-1] in print_env(config, found)


def test_a_flag_alone_is_a_comment() -> None:
    found = gather(SETTINGS, None, {"demo": True}, {})
    text = print_toml(Config.of(found), found)
    assert "# --demo is true, and a flag alone  # flag --demo\n" in text
    assert "admin_tokens = true  # flag --demo\n" in text
