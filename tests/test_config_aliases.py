from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from process import finished, running
from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.config_aliases import ALIASES, VARIABLES
from valtronics_fast.config_load import PREFIX, gather
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
# What the platform's .env.example has, with a secret in place of its placeholder.
PLATFORM = {
    "DATABASE_URL": "postgresql://valtronics:password@localhost:5432/valtronics_db",
    "REDIS_URL": "redis://localhost:6379",
    "MQTT_BROKER_HOST": "localhost",
    "MQTT_BROKER_PORT": "1883",
    "MQTT_USERNAME": "",
    "MQTT_PASSWORD": "",
    "SECRET_KEY": SECRET,
    "ACCESS_TOKEN_EXPIRE_MINUTES": "30",
    "ALGORITHM": "HS256",
    "ALLOWED_HOSTS": '["http://localhost:3000", "http://127.0.0.1:3000"]',
    "WS_HEARTBEAT_INTERVAL": "30",
    "METRICS_PORT": "9090",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
    "DEBUG": "false",
}
# Of each setting with an alias: the environment that beats it, and what it is then.
STRONGER = {
    "auth.secret": (SECRET[::-1], SECRET[::-1]),
    "auth.algorithms": ("HS256,HS384", ("HS256", "HS384")),
    "backplane.url": ("memory://", "memory://"),
    "mqtt.url": ("", ""),
    "server.ping_interval": ("7s", 7.0),
    "logging.level": ("error", "error"),
    "logging.format": ("auto", "auto"),
    "security.origins": ("", ()),
}
LONG_SECRET = SECRET + SECRET[::-1]


def faults(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config.load(environ=environ)
    return caught.value.problems


def value(config: Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def test_the_platforms_own_environment_is_taken() -> None:
    config = Config.load(environ=PLATFORM)
    assert config.auth.secret == SECRET
    assert config.auth.algorithms == ("HS256",)
    assert config.backplane.url == "redis://localhost:6379"
    assert config.mqtt.url == "mqtt://localhost:1883"
    assert config.server.ping_interval == 30.0
    assert (config.logging.level, config.logging.format) == ("info", "json")
    assert config.security.origins == ("http://localhost:3000", "http://127.0.0.1:3000")
    found = gather(SETTINGS, None, {}, PLATFORM)
    assert found.locate("auth.secret") == "alias SECRET_KEY"
    assert found.locate("mqtt.url") == "alias MQTT_BROKER_HOST, MQTT_BROKER_PORT"


def test_each_alias_is_of_a_setting_and_has_no_name_of_this_server() -> None:
    assert {alias.key for alias in ALIASES} == set(STRONGER)
    assert set(STRONGER) <= set(SETTINGS)
    assert not any(name.startswith(PREFIX) for name in VARIABLES)
    assert all(key in SETTINGS for alias in ALIASES for key in alias.rivals)


@pytest.mark.parametrize("key", sorted(STRONGER))
def test_a_variable_beats_an_alias_right_or_wrong(key: str) -> None:
    text, expected = STRONGER[key]
    (alias,) = (alias for alias in ALIASES if alias.key == key)
    for theirs in (PLATFORM[alias.variables[0]], "certainly wrong: \x1b"):
        environ = PLATFORM | {"SECRET_KEY": LONG_SECRET, alias.variables[0]: theirs, SETTINGS[key].variable: text}
        if key == "auth.secret":
            environ["VFAST_AUTH__SECRET"] = SECRET[::-1]
        assert value(Config.load(environ=environ), key) == expected


def test_the_file_a_credential_and_a_flag_beat_an_alias(tmp_path: Path) -> None:
    source: dict[str, dict[str, object]] = {"mqtt": {"url": "mqtt://other"}, "backplane": {"url": "memory://"}}
    config = Config.load(source, flags={"logging.level": "error"}, environ=PLATFORM)
    assert (config.mqtt.url, config.backplane.url, config.logging.level) == ("mqtt://other", "memory://", "error")
    (tmp_path / "auth.secret").write_text(SECRET[::-1])
    assert Config.load(environ=PLATFORM | {"CREDENTIALS_DIRECTORY": str(tmp_path)}).auth.secret == SECRET[::-1]


def test_a_setting_with_a_fault_is_not_taken_from_its_alias_in_place_of_that() -> None:
    told = faults(VFAST_SERVER__PING_INTERVAL="soon", WS_HEARTBEAT_INTERVAL="later")
    assert [fault.split(":")[0] for fault in told] == ["variable VFAST_SERVER__PING_INTERVAL"]


def test_a_secret_is_left_alone_where_there_are_other_keys() -> None:
    keys = {"VFAST_AUTH__JWKS_URL": "https://id.example/keys", "VFAST_AUTH__ALGORITHMS": "RS256"}
    assert Config.load(environ=PLATFORM | keys).auth.secret == ""
    told = faults(**PLATFORM | keys | {"VFAST_AUTH__JWKS_URL": "ftp://x"})
    assert [fault.split(":")[0] for fault in told] == ["variable VFAST_AUTH__JWKS_URL"]
    assert Config.load({"auth": {"jwks_url": ""}}, environ=PLATFORM).auth.secret == SECRET


@pytest.mark.parametrize("name", sorted(set(VARIABLES) & set(PLATFORM)))
def test_an_empty_variable_is_none(name: str) -> None:
    Config.load(environ={name: ""})
    (alias,) = (alias for alias in ALIASES if name in alias.variables)
    if name == alias.variables[0]:
        assert value(Config.load(environ=PLATFORM | {name: ""}), alias.key) == SETTINGS[alias.key].default


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("SECRET_KEY", "your-super-secret-key-change-in-production", "alias SECRET_KEY: auth.secret must be random"),
        ("SECRET_KEY", SECRET[:31], "alias SECRET_KEY: auth.secret must be at least 32 bytes long"),
        ("ALGORITHM", "none", "alias ALGORITHM: auth.algorithms must be one or more of"),
        ("ALGORITHM", "RS256", "alias ALGORITHM: auth.algorithms must go with auth.public_key_file"),
        ("REDIS_URL", "localhost:6379", "alias REDIS_URL: backplane.url must be "),
        ("MQTT_BROKER_HOST", "a b", "alias MQTT_BROKER_HOST: mqtt.url must be "),
        ("MQTT_BROKER_HOST", "mqtt://broker", "alias MQTT_BROKER_HOST: mqtt.url must be "),
        ("WS_HEARTBEAT_INTERVAL", "often", "alias WS_HEARTBEAT_INTERVAL: server.ping_interval must be a duration"),
        ("LOG_LEVEL", "loud", "alias LOG_LEVEL: logging.level must be "),
        ("ALLOWED_HOSTS", '["localhost"]', "alias ALLOWED_HOSTS: security.origins must be a list of origins"),
        ("ALLOWED_HOSTS", "[]", "alias ALLOWED_HOSTS: security.origins must name an origin"),
        ("ALLOWED_HOSTS", " [ ] ", "alias ALLOWED_HOSTS: security.origins must name an origin"),
    ],
)
def test_faults_name_the_alias(name: str, text: str, told: str) -> None:
    (fault,) = faults(**{name: text})
    assert fault.startswith(told)
    assert SECRET[:31] not in fault


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "mqtt://broker"),
        ({"MQTT_BROKER_PORT": "8883"}, "mqtt://broker:8883"),
        ({"MQTT_BROKER_PORT": "tcp://10.0.0.7:1883"}, "mqtt://broker"),
        ({"MQTT_USERNAME": "u", "MQTT_PASSWORD": "p"}, "mqtt://u:p@broker"),
        ({"MQTT_USERNAME": "u"}, "mqtt://broker"),
        ({"MQTT_PASSWORD": "p"}, "mqtt://broker"),
        ({"MQTT_USERNAME": "a@b", "MQTT_PASSWORD": "p:/ ?#é\udcff"}, "mqtt://a%40b:p%3A%2F%20%3F%23%C3%A9%FF@broker"),
        ({"MQTT_BROKER_HOST": "::1", "MQTT_BROKER_PORT": "1"}, "mqtt://[::1]:1"),
        ({"MQTT_BROKER_HOST": "[::1]"}, "mqtt://[::1]"),
    ],
)
def test_the_url_of_the_broker(environ: dict[str, str], url: str) -> None:
    assert Config.load(environ={"MQTT_BROKER_HOST": "broker", **environ}).mqtt.url == url


def test_without_its_host_there_is_no_broker() -> None:
    environ = {"MQTT_BROKER_PORT": "tcp://10.0.0.7:1883", "MQTT_USERNAME": "u", "MQTT_PASSWORD": "p"}
    assert Config.load(environ=environ).mqtt.url == ""


def test_a_fault_of_the_broker_names_all_that_its_url_is_made_of_but_no_password() -> None:
    environ = {"MQTT_BROKER_HOST": "broker", "MQTT_BROKER_PORT": "x", "MQTT_USERNAME": "u", "MQTT_PASSWORD": "hunter2"}
    (fault,) = faults(**environ)
    assert fault.startswith("alias MQTT_BROKER_HOST, MQTT_BROKER_PORT, MQTT_USERNAME, MQTT_PASSWORD: mqtt.url must be ")
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        ("LOG_LEVEL", " warning ", "logging.level", "warning"),
        ("LOG_LEVEL", "WARN", "logging.level", "warning"),
        ("LOG_LEVEL", "CRITICAL", "logging.level", "error"),
        ("LOG_LEVEL", "FATAL", "logging.level", "error"),
        ("LOG_LEVEL", "NOTSET", "logging.level", "debug"),
        ("LOG_FORMAT", "JSON", "logging.format", "json"),
        ("LOG_FORMAT", "%(message)s", "logging.format", "text"),
        ("ALLOWED_HOSTS", '["*"]', "security.origins", ("*",)),
        ("ALLOWED_HOSTS", "https://a.example,https://b.example", "security.origins", ("https://a.example", "https://b.example")),
    ],
)
def test_values_as_the_platform_means_them(name: str, text: str, key: str, expected: object) -> None:
    assert value(Config.load(environ={name: text}), key) == expected


@pytest.mark.parametrize("weak", ["your-super-secret-key-change-in-production", "sixteen-letters-"])
def test_a_weak_secret_is_refused_wherever_it_comes_from(tmp_path: Path, weak: str) -> None:
    toml, credential = tmp_path / "server.toml", tmp_path / "auth.secret"
    toml.write_text(f"[auth]\nsecret = '{weak}'\n")
    credential.write_text(weak)
    sources: list[tuple[object, dict[str, object], dict[str, str]]] = [
        (toml, {}, {}),
        ({"auth": {"secret": weak}}, {}, {}),
        (None, {"auth.secret": weak}, {}),
        (None, {}, {"VFAST_AUTH__SECRET": weak}),
        (None, {}, {"VFAST_AUTH__SECRET_FILE": str(credential)}),
        (None, {}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}),
        (None, {}, {"SECRET_KEY": weak}),
    ]
    for source, flags, environ in sources:
        with pytest.raises(ConfigError, match=r"auth\.secret must be ") as caught:
            Config.load(source, flags=flags, environ=environ)  # type: ignore[arg-type]
        assert weak not in str(caught.value)


async def test_the_variables_that_kubernetes_makes_of_services_do_no_harm() -> None:
    links = {
        "VALTRONICS_FAST_PORT": "tcp://10.0.0.7:8000",
        "VALTRONICS_FAST_SERVICE_HOST": "10.0.0.7",
        "VALTRONICS_FAST_SERVICE_PORT": "8000",
        "VALTRONICS_FAST_PORT_8000_TCP": "tcp://10.0.0.7:8000",
        "VALTRONICS_FAST_PORT_8000_TCP_ADDR": "10.0.0.7",
        "REDIS_PORT": "tcp://10.0.0.8:6379",
        "MQTT_BROKER_PORT": "tcp://10.0.0.9:1883",
        "MQTT_BROKER_SERVICE_HOST": "10.0.0.9",
    }
    assert Config.load(environ=links) == Config()
    async with running(**links) as server:
        assert await server.end() == 0


async def test_a_server_starts_with_the_platforms_environment() -> None:
    unreachable = {"REDIS_URL": "redis://127.0.0.1:1", "MQTT_BROKER_PORT": "1", "VFAST_BACKPLANE__PATIENCE": "100ms"}
    async with running(**PLATFORM | unreachable) as server:
        assert "random secret" not in server.banner
        assert server.lines()
        assert await server.end() == 0
        assert SECRET not in server.log + server.banner


async def test_the_platforms_placeholder_keeps_it_from_starting() -> None:
    code, out, err = await finished(SECRET_KEY="your-super-secret-key-change-in-production")
    assert (code, out) == (2, "")
    assert err.startswith("valtronics-fast: alias SECRET_KEY: auth.secret must be random")
