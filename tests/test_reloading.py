"""What is taken of a new configuration; tests/integration/test_reload.py shows what that does to a process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from certificates import write_certificate
from harness import SECRET, configuration, running, until
from services import free_port
from tokens import RSA_KEY, jwk, key_server
from valtronics_fast import Server
from valtronics_fast.auth import Authenticator
from valtronics_fast.config import SETTINGS, Config, is_reloaded
from valtronics_fast.errors import ConfigError
from valtronics_fast.reloading import Reload, prepare_reload

if TYPE_CHECKING:
    from pathlib import Path

OTHER_SECRET = "Nb7-xQ2vKr9LmTz4WcY8hPdSf3JgAe6uVo1RtXi0Bk_EzCwM"


async def prepared(old: Config, new: Config, *, secret_made_up: bool = False) -> Reload:
    return await prepare_reload(old, new, Authenticator(old.auth), secret_made_up=secret_made_up)


async def test_the_same_again_changes_nothing() -> None:
    config = configuration()
    authenticator = Authenticator(config.auth)
    reload = await prepare_reload(config, configuration(), authenticator, secret_made_up=False)
    assert reload == (config, [], authenticator, None)


def test_what_is_taken() -> None:
    """The documented set, by section; what is new in a section of it has to be put in force, too."""
    sections: dict[str, set[str]] = {}
    for setting in SETTINGS.values():
        if is_reloaded(setting):
            sections.setdefault(setting.section, set()).add(setting.name)
    whole = {one.section for one in SETTINGS.values()} - {
        one.section for one in SETTINGS.values() if not is_reloaded(one)
    }
    assert whole == {"auth", "limits", "security", "tls", "logging"}
    assert {name: names for name, names in sections.items() if name not in whole} == {
        "server": {"drain_window"},
        "http": {"api_key", "admin_key", "body_size", "publish_rate", "metrics_networks"},
    }


async def test_what_is_not_taken_keeps_its_value_and_is_named() -> None:
    old = configuration()
    new = configuration(
        server={"drain_window": 1, "compression": True},
        http={"api_key": "k", "port": 7},
        limits={"connections": 5},
        system={"interval": 3},
        mqtt={"url": "mqtt://broker"},
        demo=True,
    )
    reload = await prepared(old, new)
    assert set(reload.unchanged) == {"server.compression", "http.port", "system.interval", "mqtt.url", "demo"}
    expected = configuration(
        server={"drain_window": 1},
        http={"api_key": "k"},
        limits={"connections": 5},
        auth={"admin_tokens": True},  # as the demo would have it
    )
    assert reload.config == expected


async def test_a_secret_that_was_made_up_stays_until_there_is_a_key() -> None:
    server = Server(configuration(auth={"secret": ""}))
    old = server.config
    reload = await prepared(old, configuration(auth={"secret": ""}), secret_made_up=True)
    assert reload.config.auth.secret == old.auth.secret
    reload = await prepared(old, configuration(), secret_made_up=True)
    assert reload.config.auth.secret == SECRET
    with pytest.raises(ConfigError, match=r"auth\.secret must stay"):
        await prepared(configuration(), configuration(auth={"secret": ""}))


async def test_every_fault_is_told(tmp_path: Path, authority: trustme.CA) -> None:
    files, others = write_certificate(authority, tmp_path), write_certificate(authority, tmp_path, prefix="x")
    keys = tmp_path / "keys.pem"
    keys.write_text("none")
    proxied: dict[str, Any] = {"server": {"proxy_protocol": True}}
    old = configuration(tls=files, security={"trusted_proxies": ["10.0.0.1"]}, **proxied)
    auth = {"secret": "", "algorithms": ["RS256"], "public_key_file": str(keys)}
    new = configuration(tls={"certfile": files["certfile"], "keyfile": others["keyfile"]}, auth=auth)
    with pytest.raises(ConfigError) as caught:
        await prepared(old, new)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "server.proxy_protocol", "tls.keyfile", "auth.public_key_file",
    ]  # fmt: skip


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_the_former_key_set_is_not_fetched_any_more() -> None:
    async with key_server(jwk(RSA_KEY)) as keys:
        before = asyncio.all_tasks()
        auth = {"secret": "", "algorithms": ["RS256"], "jwks_url": keys.url}
        async with running(auth=auth) as site:
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert "jwks-refresh" in names
            assert await site.server.reload(configuration()) == []
            assert "jwks-refresh" not in {task.get_name() for task in asyncio.all_tasks()}
            await site.server.reload(configuration(auth=auth))
            assert keys.requests == 2
            await site.server.reload(configuration(auth=auth, limits={"connections": 5}))
            assert keys.requests == 2
        await until(lambda: asyncio.all_tasks() <= before)


async def test_a_key_set_that_can_not_be_fetched_is_not_taken() -> None:
    before = asyncio.all_tasks()
    url = f"http://127.0.0.1:{free_port()}/"
    new = configuration(auth={"secret": "", "algorithms": ["RS256"], "jwks_url": url})
    with pytest.raises(ConfigError, match=r"auth\.jwks_url must lead to a usable key set"):
        await prepared(configuration(), new)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_what_the_hub_bounds() -> None:
    async with running() as site:
        hub = site.server._hub
        await site.server.reload(configuration(limits={"publication_size": 1000, "all_queues": 0}))
        assert (hub.max_payload, hub.max_backlog > 1 << 60) == (1000, True)
        await site.server.reload(configuration(limits={"publication_size": 0, "all_queues": 2000}))
        assert (hub.max_payload, hub.max_backlog) == (0, 2000)


async def test_before_the_start_there_is_nothing_to_reload() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await Server(configuration()).reload(configuration())
