from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.errors import ConfigError
from valtronics_fast.units import Rate

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"

# Names and defaults that other programs' configuration files rely on.
CONTRACT = {
    "server": {
        "host": "127.0.0.1", "port": 8000, "workers": 1, "worker_timeout": 30.0, "fd": 0,
        "handshake_timeout": 5.0, "proxy_protocol": False,
        "ping_interval": 25.0, "ping_timeout": 8.0, "close_timeout": 2.0, "drain_window": 10.0, "flush_interval": 0.0,
        "compression": False,
    },
    "http": {
        "host": "127.0.0.1", "port": 8001, "fd": 0, "api_key": "", "admin_key": "", "body_size": 8 << 20,
        "publish_rate": 0, "metrics_networks": (), "dashboard": True, "websocket_url": "",
    },
    "auth": {
        "secret": "", "algorithms": ("HS256",), "public_key_file": "", "jwks_url": "", "audience": "",
        "issuer": "", "leeway": 30.0, "default_scope": "all", "admin_tokens": False, "timeout": 10.0,
        "query_token": False, "attempts": 3, "grace": 25.0, "renewal_notice": 60.0, "token_cache": 10_000,
    },
    "limits": {
        "connections": 1000, "connections_per_user": 100, "connection_rate": Rate(10, 60.0),
        "messages_per_second": 100, "message_size": 1024, "auth_size": 8192, "frame_size": 65536,
        "fragments": 64, "batch_items": 50, "subscriptions": 1000, "device_ids": 10_000,
        "min_interval": 0.0, "replayed_messages": 4000, "publication_size": 65_536, "json_depth": 16,
        "queue_mark": 512 << 10, "queue_size": 2 << 20, "queue_time": 30.0, "queue_limit": 4 << 20,
        "all_queues": 256 << 20, "memory": 0, "addresses": 100_000,
    },
    "history": {"latest_size": 64 << 20, "messages": 10_000, "size": 16 << 20, "age": 300.0},
    "security": {
        "origins": (), "require_origin": False, "trusted_proxies": (), "ban_after": 0, "ban_for": 600.0,
        "suspects": 10_000,
    },
    "tls": {"certfile": "", "keyfile": "", "client_ca": "", "client_auth": "none"},
    "system": {"interval": 5.0},
    "backplane": {
        "url": "memory://", "prefix": "valtronics", "entries": 1000, "size": 64 << 20,
        "queue": 16 << 20, "buffer": 64 << 20, "patience": 5.0,
    },
    "logging": {"level": "info", "format": "auto", "messages": 0.0},
}  # fmt: skip


def faults(*args: object, **kwargs: object) -> tuple[str, ...]:
    kwargs.setdefault("environ", {})
    with pytest.raises(ConfigError) as caught:
        Config.load(*args, **kwargs)  # type: ignore[arg-type]
    return caught.value.problems


@pytest.mark.parametrize("section", sorted(CONTRACT))
def test_names_and_defaults_are_those_of_the_contract(section: str) -> None:
    values = getattr(Config.load(environ={}), section)
    assert {name: getattr(values, name) for name in values.__struct_fields__} == CONTRACT[section]


def test_mqtt_is_off_with_both_topic_families_mapped() -> None:
    mqtt = Config().mqtt
    assert mqtt.__struct_fields__ == ("url", "client_id", "session_expiry", "topics")
    assert (mqtt.url, mqtt.client_id) == ("", "")
    assert "valtronics/{device}/telemetry => telemetry" in mqtt.topics
    assert "valtronics/devices/{device}/telemetry/{metric} => telemetry" in mqtt.topics


def test_flags_are_those_of_the_contract() -> None:
    flags = {setting.key: setting.flag for setting in SETTINGS.values() if setting.flag}
    assert flags == {
        "demo": "--demo",
        "server.host": "--host",
        "server.port": "--port",
        "server.workers": "--workers",
        "http.host": "--http-host",
        "http.port": "--http-port",
        "server.fd": "--fd",
        "http.fd": "--http-fd",
        "logging.level": "--log-level",
    }


def test_every_setting_is_described() -> None:
    for setting in SETTINGS.values():
        assert setting.description.endswith("."), setting.key
        if setting.kind in {"count", "duration", "rate", "size"}:
            assert setting.zero or setting.low, setting.key
        if setting.default in {"", ()}:
            assert setting.zero, setting.key


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_every_default_is_allowed(key: str) -> None:
    setting = SETTINGS[key]
    assert setting.convert(setting.default if setting.kind != "rate" else "10/min") == setting.default


@pytest.mark.parametrize("key", sorted(key for key, one in SETTINGS.items() if one.zero and one.kind != "choice"))
def test_zero_is_allowed_where_it_has_a_meaning(key: str) -> None:
    setting = SETTINGS[key]
    Config.load(environ={setting.variable: "" if setting.kind in {"text", "list"} else "0"})


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[server]\nport = 1111\nping_interval = '1m'\n[http]\nport = 2222\n[limits]\nfragments = 3\n")
    config = Config.load(
        path,
        flags={"server.port": "9000", "server.host": None},
        environ={"VFAST_SERVER__PORT": "5555", "VFAST_HTTP__PORT": "6666"},
    )
    assert (config.server.port, config.http.port) == (9000, 6666)
    assert (config.server.ping_interval, config.limits.fragments) == (60.0, 3)
    assert (config.server.host, config.limits.batch_items) == ("127.0.0.1", 50)


def test_an_empty_variable_replaces_what_the_file_has() -> None:
    source: dict[str, dict[str, object]] = {"mqtt": {"url": "mqtt://broker"}, "security": {"origins": ["*"]}}
    config = Config.load(source, environ={"VFAST_MQTT__URL": "", "VFAST_SECURITY__ORIGINS": ""})
    assert (config.mqtt.url, config.security.origins) == ("", ())


def test_demo_is_a_flag_alone() -> None:
    assert not Config.load(environ={}).demo
    assert Config.load(flags={"demo": True}, environ={}).demo
    assert faults({"demo": {}}) == ("mapping [demo]: unknown section",)
    assert "unknown setting" in faults(environ={"VFAST_DEMO": "1"})[0]


def test_the_environment_of_the_process_counts_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFAST_SERVER__PORT", "7777")
    assert Config.load().server.port == 7777
    assert Config.load(environ={}).server.port == 8000


def test_every_fault_is_told_at_once_with_its_place() -> None:
    told = faults(
        {"server": {"port": "8000", "prot": 1}, "sever": {}, "tls": {"keyfile": __file__}},
        flags={"http.port": "99999"},
        environ={"VFAST_LIMITS__CONNECTIONS": "x", "VFAST_AUTH__SECRT": SECRET},
    )
    assert told == (
        "mapping [server] port: server.port must be a whole number from 0 to 65535, not '8000'",
        "mapping [server] prot: unknown setting (did you mean port?)",
        "mapping [sever]: unknown section (did you mean server?)",
        "variable VFAST_AUTH__SECRT: unknown setting (did you mean VFAST_AUTH__SECRET?)",
        "variable VFAST_LIMITS__CONNECTIONS: limits.connections must be a whole number from 0, not 'x'",
        "flag --http-port: http.port must be a whole number from 0 to 65535, not 99999",
        "mapping [tls] keyfile: tls.keyfile must go with tls.certfile, which is not set",
    )


def test_a_conflict_names_the_place_of_the_value_that_is_wrong() -> None:
    told = faults({"auth": {"secret": SECRET}}, environ={"VFAST_AUTH__ALGORITHMS": "HS256,HS512"})
    assert told == ("mapping [auth] secret: auth.secret must be at least 64 bytes long for HS256, HS512; it is 32",)
    told = faults(environ={"VFAST_AUTH__ALGORITHMS": "HS256,RS256"})
    assert told[0].startswith("variable VFAST_AUTH__ALGORITHMS: auth.algorithms must ")
    told = faults(flags={"server.port": 8001})
    assert told == ("default: http.port must differ from server.port, which is 8001 as well",)


def test_a_faulty_value_does_not_cause_conflicts_of_its_default() -> None:
    told = faults({"auth": {"algorithms": ["RS265"], "jwks_url": "https://id.example/keys"}})
    assert len(told) == 1
    assert told[0].startswith("mapping [auth] algorithms: auth.algorithms must be one or more of HS256")


def test_no_secret_is_ever_printed() -> None:
    source = {
        "auth": {"secret": SECRET},
        "http": {"api_key": "k3y-hunter2", "admin_key": "hunter2-9d41c7a0e85b62f3-0123456789"},
        "mqtt": {"url": "mqtt://user:hunter2@broker"},
    }
    config = Config.load(source, environ={})
    for text in (repr(config), str(config), repr(config.auth), repr(config.http), repr(config.mqtt)):
        assert SECRET not in text
        assert "hunter2" not in text
    assert "server=ServerConfig(host='127.0.0.1'" in repr(config)
    told = faults({"auth": {"secret": "hunter2"}, "http": {"api_key": "hunter2 x"}, "mqtt": {"url": "hunter2:p@x"}})
    assert len(told) == 3
    assert "hunter2 x" not in " ".join(told)
    assert all("hunter2" not in one for one in told[:2])


def test_the_settings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Config().server.port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Config().demo = True  # type: ignore[misc]


def test_the_module_prints_the_reference() -> None:
    command = [sys.executable, "-m", "valtronics_fast.config"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.startswith("# Configuration\n")
