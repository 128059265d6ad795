from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast import config_checks as checks
from valtronics_fast.config import Config
from valtronics_fast.errors import ConfigError
from valtronics_fast.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "w7Qz-M2pLr9_TfXc4VbNsJ8hKd3yGa5e"
PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"


def refused(check: Callable[[Any], None], value: object) -> str:
    with pytest.raises(ValueError) as caught:
        check(value)
    text = str(caught.value)
    assert text.startswith("must be ")
    return text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "::", "::1", "a-b.example.org", "db_1"])
def test_hosts(host: str) -> None:
    checks.check_host(host)


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1:80", "[::1]", "http://x", "a/b", "*", "a..b", "é"])
def test_no_hosts(host: str) -> None:
    refused(checks.check_host, host)


@pytest.mark.parametrize("secret", ["", SECRET, "0123456789abcdef0123456789abcdef", "0f" + "3a9c71e5" * 2 + "x1"])
def test_secrets(secret: str) -> None:
    checks.check_secret(secret)


@given(st.integers(32, 64))
def test_random_secrets_are_never_taken_for_placeholders(size: int) -> None:
    for make in (secrets.token_urlsafe, secrets.token_hex):
        checks.check_secret(make(size))


@pytest.mark.parametrize(
    "secret",
    [
        "changeme",
        "change-me-please-change-me-please-1234",
        "secret",
        "secretsecretsecretsecretsecretsecret",
        "your-secret-key-here-at-least-32-bytes",
        "your_jwt_secret_0123456789_abcdefghij",
        "super-secret-key-that-nobody-can-guess",
        "SECRET_KEY=0123456789abcdefghijklmnopqr",
        "please-change-in-production-0123456789",
        "a" * 40,
        "passwordpasswordpasswordpassword",
        "1234567890" * 4,
        "0123456789abcdefghij" * 3,
        " " * 32,
    ],
)
def test_placeholders_are_no_secrets(secret: str) -> None:
    assert "random" in refused(checks.check_secret, secret)
    assert secret not in refused(checks.check_secret, secret)


@pytest.mark.parametrize(
    "secret", [PEM, f"\n{PEM}", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ", "ecdsa-sha2-nistp256 AAAA"]
)
def test_keys_of_other_kinds_are_no_secrets(secret: str) -> None:
    assert "not a key or certificate" in refused(checks.check_secret, secret)


def test_a_long_secret_is_judged_quickly() -> None:
    checks.check_secret(secrets.token_hex(2_000_000))


def test_api_keys() -> None:
    checks.check_api_key("")
    checks.check_api_key("k3y!~")
    for key in ("a b", " a", "é", "a\n", "\x7f"):
        refused(checks.check_api_key, key)


def test_admin_keys() -> None:
    for key in ("", secrets.token_hex(16), secrets.token_urlsafe(24)):
        checks.check_admin_key(key)
    for key in ("a", secrets.token_hex(15), "changeme" * 5, "ab" * 20, SECRET + " "):
        refused(checks.check_admin_key, key)


@pytest.mark.parametrize("name", [*checks.SECRET_BYTES, *checks.PUBLIC_KEY_ALGORITHMS])
def test_algorithms(name: str) -> None:
    checks.check_algorithms((name,))


def test_the_algorithms_are_those_of_the_protocol() -> None:
    assert {*checks.SECRET_BYTES, *checks.PUBLIC_KEY_ALGORITHMS} == {
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA",
    }  # fmt: skip


@pytest.mark.parametrize("names", [(), ("none",), ("None",), ("HS256", "none"), ("hs256",), ("ES512",), ("",)])
def test_no_algorithms(names: tuple[str, ...]) -> None:
    assert "HS256, HS384, HS512, RS256" in refused(checks.check_algorithms, names)


@pytest.mark.parametrize("url", ["", "https://id.example/keys", "http://127.0.0.1:9000/jwks.json?x=1"])
def test_jwks_urls(url: str) -> None:
    checks.check_jwks_url(url)


@pytest.mark.parametrize(
    "url", ["id.example/keys", "file:///etc/passwd", "https://", "https:///x", "ftp://x", "https://a b"]
)
def test_no_jwks_urls(url: str) -> None:
    assert "https://" in refused(checks.check_jwks_url, url)


@pytest.mark.parametrize(
    "url", ["", "/ws", "/", "/a/b-c/ws", "wss://a.example/ws", "ws://a.example:80/", "wss://[::1]:8443/x/ws"]
)
def test_where_browsers_find_the_websocket(url: str) -> None:
    checks.check_websocket_url(url)


@pytest.mark.parametrize(
    "url",
    ["ws", "//evil.example/ws", "wss://a.example", "https://a.example/ws", "wss://a@b/ws", "/ws?token=x", "/ws#x",
     "/ws; script-src *", "/w s", "wss://a.example/ws\r\nX: y", "/é"],
)  # fmt: skip
def test_what_is_no_place_of_the_websocket(url: str) -> None:
    assert "wss://" in refused(checks.check_websocket_url, url)


@pytest.mark.parametrize(
    "url",
    ["", "mqtt://broker", "mqtt://broker/", "mqtts://u:p%40@broker:8883", "mqtt://[::1]:1883", "MQTT://b"],
)
def test_mqtt_urls(url: str) -> None:
    checks.check_mqtt_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "broker", "broker:1883", "tcp://broker", "mqtt://", "mqtt://:1883", "mqtt://b:0", "mqtt://b:99999",
        "mqtt://b:x", "mqtt://b/topic", "mqtt://b?x=1", "mqtt://b#x", "mqtt://b\n", "mqtt://[::1", " mqtt://b",
    ],
)  # fmt: skip
def test_no_mqtt_urls(url: str) -> None:
    refused(checks.check_mqtt_url, url)


def test_backplanes() -> None:
    checks.check_backplane_url("memory://")
    checks.check_backplane_url("redis://me:secret@localhost/1")
    for url in ("", "memory", "http://localhost", "redis://s3cret#@x"):
        assert "s3cret" not in refused(checks.check_backplane_url, url)


def test_prefixes() -> None:
    checks.check_prefix("Site_1-a")
    for prefix in ("", "a.b", "a*", "a b", "x" * 33):
        assert refused(checks.check_prefix, prefix)


def test_topics() -> None:
    checks.check_topics(("plant/{device}/t => telemetry",))
    for topics in (
        (),
        ("plant/{device}/t",),
        ("plant/x => telemetry",),
        ("a/{device} => status", "a/{device} => alert"),
    ):
        refused(checks.check_topics, topics)
    assert "plant/x => telemetry" in refused(checks.check_topics, ("plant/x => telemetry",))


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example",
        "https://a.example:8443",
        "http://localhost:3000",
        "https://*.example.org",
        "null",
        "*",
    ],
)
def test_origins(origin: str) -> None:
    checks.check_origins((origin,))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "a.example",
        "https://",
        "https://a.example/",
        "https://a.example/x",
        "https://*",
        "https://a.*",
        "https://a..b",
        "https://a.example.",
        "https://a.example:0443",
        "https://a.example:0",
        "https://a.example:",
        "https://a.example\n",
        "**",
    ],
)
def test_no_origins(origin: str) -> None:
    assert repr(origin) in refused(checks.check_origins, ("https://fine.example", origin))


@given(st.lists(st.from_regex(r"\A(https?://)?(\*\.)?[aZ0.*:-]{0,8}\Z"), max_size=3))
def test_the_server_can_start_with_every_origin_that_is_no_fault(origins: list[str]) -> None:
    try:
        Origins(origins)
    except ValueError:
        with pytest.raises(ConfigError, match=r"security\.origins must be a list of origins"):
            Config.load({"security": {"origins": origins}}, environ={})
    else:
        assert Config.load({"security": {"origins": origins}}, environ={}).security.origins == tuple(origins)


@pytest.mark.parametrize("proxy", ["10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"])
def test_proxies(proxy: str) -> None:
    checks.check_networks((proxy,))


@pytest.mark.parametrize("proxy", ["", "localhost", "10.0.0.1/8", "10.0.0", "10.0.0.0/33", "*"])
def test_no_proxies(proxy: str) -> None:
    assert repr(proxy) in refused(checks.check_networks, ("10.0.0.1", proxy))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("x")
    checks.check_file("")
    checks.check_file(str(path))
    assert "No such file" in refused(checks.check_file, str(tmp_path / "none.pem"))
    assert "Is a directory" in refused(checks.check_file, str(tmp_path))
    refused(checks.check_file, "a\x00b")


def conflicts(trusted: Callable[[str], bool] = lambda _: True, **sections: dict[str, Any]) -> dict[str, str]:
    """Find the conflicts of settings that are put in without being checked one by one."""
    parts = {name: msgspec.structs.replace(getattr(Config(), name), **values) for name, values in sections.items()}
    return dict(checks.find_conflicts(msgspec.structs.replace(Config(), **parts), trusted))


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"secret": SECRET},
        {"secret": SECRET * 2, "algorithms": ("HS256", "HS512")},
        {"algorithms": ("RS256", "ES256", "EdDSA"), "public_key_file": "key.pem"},
        {"algorithms": ("PS256",), "jwks_url": "https://id.example/keys"},
    ],
)
def test_keys_that_go_with_their_algorithms(auth: dict[str, Any]) -> None:
    assert conflicts(auth=auth) == {}


@pytest.mark.parametrize("other", checks.PUBLIC_KEY_ALGORITHMS)
def test_secrets_and_public_keys_are_not_mixed(other: str) -> None:
    for given_keys in ({}, {"secret": SECRET}, {"jwks_url": "https://x"}):
        told = conflicts(auth={"algorithms": ("HS256", other), **given_keys})
        assert list(told) == ["auth.algorithms"]
        assert "not both" in told["auth.algorithms"]


@pytest.mark.parametrize("given_keys", [{}, {"secret": SECRET}])
def test_public_key_algorithms_need_public_keys(given_keys: dict[str, str]) -> None:
    told = conflicts(auth={"algorithms": ("RS256",), **given_keys})
    assert "auth.public_key_file or auth.jwks_url" in told["auth.algorithms"]


@pytest.mark.parametrize("source", ["public_key_file", "jwks_url"])
def test_public_keys_need_their_algorithms(source: str) -> None:
    told = conflicts(auth={source: "https://x"})
    assert f"must name what auth.{source} verifies" in told["auth.algorithms"]


def test_there_is_one_source_of_keys() -> None:
    told = conflicts(auth={"secret": SECRET, "jwks_url": "https://x"})
    assert "auth.secret and auth.jwks_url are set" in told["auth.jwks_url"]
    told = conflicts(auth={"algorithms": ("RS256",), "public_key_file": "k", "jwks_url": "https://x"})
    assert list(told) == ["auth.jwks_url"]


@pytest.mark.parametrize(("name", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(name: str, least: int) -> None:
    long_enough = (SECRET * 2)[:least]
    assert conflicts(auth={"algorithms": (name,), "secret": long_enough}) == {}
    told = conflicts(auth={"algorithms": (name,), "secret": long_enough[:-1]})
    assert told == {"auth.secret": f"must be at least {least} bytes long for {name}; it is {least - 1}"}


def test_the_size_of_a_secret_is_in_bytes() -> None:
    assert conflicts(auth={"secret": "äöüßéèêëçñÄÖÜŒœæ"}) == {}


@pytest.mark.parametrize(("one", "other"), [("certfile", "keyfile"), ("keyfile", "certfile")])
def test_certificate_and_key_go_together(one: str, other: str) -> None:
    assert conflicts(tls={one: "x"}) == {f"tls.{one}": f"must go with tls.{other}, which is not set"}
    assert conflicts(tls={one: "x", other: "y"}) == {}


def test_certificates_of_clients_need_who_vouches_for_them_and_a_server_with_tls() -> None:
    pair = {"certfile": "x", "keyfile": "y"}
    assert conflicts(tls={**pair, "client_ca": "z", "client_auth": "optional"}) == {}
    told = conflicts(tls={**pair, "client_auth": "required"})
    assert told == {"tls.client_auth": "must go with tls.client_ca, which is not set"}
    assert list(conflicts(tls={**pair, "client_ca": "z"})) == ["tls.client_ca"]
    told = conflicts(tls={"client_ca": "z", "client_auth": "required"})
    assert told == {"tls.client_ca": "must go with tls.certfile, which is not set"}


def test_the_proxy_protocol_needs_a_proxy() -> None:
    assert "security.trusted_proxies" in conflicts(server={"proxy_protocol": True})["server.proxy_protocol"]
    assert conflicts(server={"proxy_protocol": True}, security={"trusted_proxies": ("10.0.0.1",)}) == {}


@pytest.mark.parametrize(
    ("host", "http_host", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_two_servers_do_not_share_a_port(host: str, http_host: str, clash: bool) -> None:
    told = conflicts(server={"host": host, "port": 9000}, http={"host": http_host, "port": 9000})
    assert bool(told) == clash
    assert conflicts(server={"host": host, "port": 0}, http={"host": http_host, "port": 0}) == {}
    assert conflicts(server={"host": host, "port": 9000}, http={"host": http_host, "port": 9001}) == {}


def test_two_servers_do_not_share_a_socket_that_was_passed_on() -> None:
    assert conflicts(server={"fd": 3}, http={"fd": 3}).keys() == {"http.fd"}
    for fds in ((3, 4), (3, 0), (0, 3)):  # then the ports are not looked at
        assert conflicts(server={"fd": fds[0], "port": 9000}, http={"fd": fds[1], "port": 9000}) == {}


def test_settings_with_faults_of_their_own_cause_no_conflicts() -> None:
    assert conflicts(lambda key: key != "tls.keyfile", tls={"certfile": "x"}) == {}
    assert conflicts(lambda key: key != "auth.secret", auth={"secret": "short"}) == {}
    assert conflicts(lambda key: key != "tls.keyfile", auth={"secret": "short"}) != {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.host", "a b"),
        ("http.host", "a b"),
        ("http.api_key", "a b"),
        ("http.websocket_url", "//evil.example/ws"),
        ("auth.secret", "changeme-changeme-changeme-changeme"),
        ("auth.algorithms", ["none"]),
        ("auth.public_key_file", "/nowhere.pem"),
        ("auth.jwks_url", "file:///etc/passwd"),
        ("mqtt.url", "http://x"),
        ("mqtt.topics", ["nothing"]),
        ("backplane.url", "amqp://x"),
        ("security.origins", ["example.org"]),
        ("security.trusted_proxies", ["everybody"]),
        ("tls.certfile", "/nowhere.pem"),
        ("tls.keyfile", "/nowhere.pem"),
        ("tls.client_ca", "/nowhere.pem"),
    ],
)
def test_a_setting_is_checked_when_it_is_loaded(key: str, value: object) -> None:
    section, name = key.split(".")
    with pytest.raises(ConfigError) as caught:
        Config.load({section: {name: value}}, environ={})
    assert f"{key} must be " in str(caught.value)
