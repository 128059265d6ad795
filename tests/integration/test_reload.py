"""SIGHUP: the configuration is read anew, whole or not at all, and nobody is dropped."""

from __future__ import annotations

import json
import signal
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from certificates import trusting, write_certificate
from harness import SECRET, TIMEOUT, Client, http, padded, telemetry
from http_served import bearer
from process import Running, running
from services import free_port
from tokens import OTHER_RSA_KEY, RSA_KEY, claims, jwk, key_server, public_pem, token
from valtronics_fast.config import Config
from valtronics_fast.tokens import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

OTHER_SECRET = "Nb7-xQ2vKr9LmTz4WcY8hPdSf3JgAe6uVo1RtXi0Bk_EzCwM"


def toml(**sections: dict[str, Any]) -> str:
    """Write a file; what is not given is what the tests need."""
    merged: dict[str, dict[str, Any]] = {
        "auth": {"secret": SECRET},
        "limits": {"connection_rate": 0},
        "system": {"interval": 0},
        "logging": {"format": "json"},
    }
    for name, settings in sections.items():
        merged[name] = {**merged.get(name, {}), **settings}
    lines = []
    for name, settings in merged.items():
        lines.append(f"[{name}]")
        for key, value in settings.items():
            lines.append(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    return "\n".join(lines) + "\n"


def minted(secret: str) -> str:
    """Return a token that is signed with a secret."""
    return mint(Config.load({"auth": {"secret": secret}}, environ={}).auth, "alice")


class Configured:
    """A process with a configuration file, and a client that was there before it changed.

    Attributes:
        client: authenticated as alice, and subscribed to telemetry.
    """

    def __init__(self, server: Running, path: Path, client: Client) -> None:
        self.server, self.path, self.client = server, path, client
        self._reloads = {"reloaded": 0, "reloading failed, nothing was changed": 0}

    async def _reload(self, outcome: str, sections: dict[str, Any], count: int = 1) -> dict[str, Any]:
        self.path.write_text(toml(**sections))
        self._reloads[outcome] += count
        self.server.tell(signal.SIGHUP)
        return await self.server.logs(outcome, self._reloads[outcome])

    async def reload(self, **sections: Any) -> None:
        """Change the file, with success."""
        await self._reload("reloaded", sections)

    async def refused(self, *problems: str, **sections: Any) -> None:
        """Change the file in a way that is told to be wrong, in so many lines."""
        await self._reload("reloading failed, nothing was changed", sections, len(problems))
        told = [line["problem"] for line in self.server.lines() if line["message"].startswith("reloading failed")]
        for problem, text in zip(problems, told[-len(problems) :], strict=True):
            assert problem in text

    async def comes_in(self, secret: str = SECRET, url: str = "", **options: Any) -> bool:
        """Say whether a token of a secret, or of another kind, is good for a new connection."""
        given = options.pop("token", "") or minted(secret)
        headers = bearer(given) | options.pop("headers", {})
        try:
            async with connect(url or self.server.url, additional_headers=headers, proxy=None, **options):
                return True
        except InvalidStatus as error:
            self.status = error.response.status_code
            return False

    async def is_there(self) -> None:
        """Show that the client of the beginning is served."""
        await self.client.nothing_more()

    async def publish(self, key: str) -> int:
        url = f"{self.server.http}/api/v1/publish"
        return (await http("POST", url, json=telemetry(), headers={"X-API-Key": key}))[0]


@asynccontextmanager
async def configured(
    tmp_path: Path,
    *,
    trust: ssl.SSLContext | None = None,
    variables: Mapping[str, str] | None = None,
    **sections: Any,
) -> AsyncIterator[Configured]:
    """Run a process, and show at the end that its first client has outlived everything."""
    path = tmp_path / "server.toml"
    path.write_text(toml(**sections))
    options: dict[str, Any] = {} if trust is None else {"ssl": trust}
    async with running("--config", str(path), **(variables or {})) as server, AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(server.url, proxy=None, open_timeout=TIMEOUT, **options))
        client = Client(connection)
        await client.authenticate(minted(SECRET))
        one = Configured(server, path, client)
        yield one
        await one.is_there()
        assert await server.end() == 0
        assert SECRET not in server.log
        assert OTHER_SECRET not in server.log
        assert "Traceback" not in server.log


def _lasting() -> dict[str, Any]:
    return claims(exp=time.time() + 3600)


async def test_a_new_secret(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        assert [await one.comes_in(secret) for secret in (SECRET, OTHER_SECRET)] == [True, False]
        await one.reload(auth={"secret": OTHER_SECRET})
        assert [await one.comes_in(secret) for secret in (SECRET, OTHER_SECRET)] == [False, True]
        assert one.status == 401


async def test_a_new_secret_in_its_own_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    async with configured(tmp_path, variables={"VFAST_AUTH__SECRET_FILE": str(secret)}) as one:
        secret.write_text(f"{OTHER_SECRET}\n")
        await one.reload()
        assert [await one.comes_in(secret) for secret in (SECRET, OTHER_SECRET)] == [False, True]
        secret.unlink()
        await one.refused("secret file of VFAST_AUTH__SECRET_FILE: cannot be read (No such file or directory)")
        assert [await one.comes_in(secret) for secret in (SECRET, OTHER_SECRET)] == [False, True]


async def test_a_new_public_key_under_the_old_name(tmp_path: Path) -> None:
    keys = tmp_path / "keys.pem"
    keys.write_bytes(public_pem(RSA_KEY))
    good = [token(_lasting(), alg="RS256", key=key) for key in (RSA_KEY, OTHER_RSA_KEY)]
    auth = {"secret": "", "algorithms": ["RS256"], "public_key_file": str(keys)}
    path = tmp_path / "server.toml"
    path.write_text(toml(auth=auth))
    async with running("--config", str(path)) as server:
        one = Configured(server, path, None)  # type: ignore[arg-type]
        assert [await one.comes_in(token=each) for each in good] == [True, False]
        keys.write_bytes(public_pem(OTHER_RSA_KEY))
        await one.reload(auth=auth)
        assert [await one.comes_in(token=each) for each in good] == [False, True]
        keys.write_text("nothing")
        await one.refused("server.toml:4 [auth] public_key_file: auth.public_key_file must hold", auth=auth)
        assert [await one.comes_in(token=each) for each in good] == [False, True]
        assert await server.end() == 0


async def test_another_key_set(tmp_path: Path) -> None:
    """Before the first request, too, the new set must be there: the old keys work."""
    path = tmp_path / "server.toml"
    good = [token(_lasting(), alg="RS256", key=key, header={"kid": "k"}) for key in (RSA_KEY, OTHER_RSA_KEY)]
    async with key_server(jwk(RSA_KEY, kid="k")) as old, key_server(jwk(OTHER_RSA_KEY, kid="k")) as new:
        auth = {"secret": "", "algorithms": ["RS256"], "jwks_url": old.url}
        path.write_text(toml(auth=auth))
        async with running("--config", str(path)) as server:
            one = Configured(server, path, None)  # type: ignore[arg-type]
            assert [await one.comes_in(token=each) for each in good] == [True, False]
            away = auth | {"jwks_url": f"http://127.0.0.1:{free_port()}/"}
            await one.refused("auth.jwks_url must lead to a usable key set", auth=away)
            assert [await one.comes_in(token=each) for each in good] == [True, False]
            await one.reload(auth=auth | {"jwks_url": new.url})
            assert [await one.comes_in(token=each) for each in good] == [False, True]
            assert await server.end() == 0


async def test_limits_also_for_those_that_are_there(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        await one.client.fails("message_too_large", **_ping(2000))
        await one.reload(limits={"message_size": 4096})
        assert (await one.client.ask(**_ping(2000)))["type"] == "pong"
        await one.reload(limits={"message_size": 100, "connections": 1})
        await one.client.fails("message_too_large", **_ping(200))
        assert not await one.comes_in()
        assert one.status == 503
        await one.reload(limits={"connection_rate": "1/h"})
        assert [await one.comes_in() for _ in range(2)] == [True, False]
        assert one.status == 429
        await one.reload(limits={"connections_per_user": 1})
        assert not await one.comes_in()
        await one.reload()
        assert await one.comes_in()


def _ping(size: int) -> dict[str, Any]:
    return json.loads(padded(size, type="ping"))  # type: ignore[no-any-return]


async def test_origins(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        page = {"Origin": "https://app.example"}
        assert await one.comes_in(headers=page)
        await one.reload(security={"origins": ["https://other.example"]})
        assert not await one.comes_in(headers=page)
        assert one.status == 403
        await one.reload(security={"require_origin": True})
        assert await one.comes_in(headers=page)
        assert not await one.comes_in()


async def test_trusted_proxies_and_bans(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        behind = {"X-Forwarded-For": "192.0.2.7"}
        banning = {"ban_after": 2, "trusted_proxies": ["127.0.0.1"]}
        await one.reload(security=banning)
        for _ in range(2):
            assert not await one.comes_in(OTHER_SECRET, headers=behind)
            assert one.status == 401
        assert not await one.comes_in(headers=behind)
        assert one.status == 429
        assert await one.comes_in()  # the proxy itself
        await one.reload(security=banning | {"ban_after": 0})
        assert await one.comes_in(headers=behind)
        await one.reload(security={"ban_after": 2})
        assert not await one.comes_in(OTHER_SECRET, headers=behind)
        assert not await one.comes_in(OTHER_SECRET, headers=behind)
        assert not await one.comes_in()  # nobody is believed any more, so that it was this address
        assert one.status == 429
        await one.reload(security={"trusted_proxies": ["127.0.0.1"], "ban_after": 2})
        assert await one.comes_in()


async def test_the_api_key(tmp_path: Path) -> None:
    async with configured(tmp_path, http={"api_key": "old-key"}) as one:
        assert [await one.publish(key) for key in ("old-key", "new-key")] == [200, 401]
        await one.reload(http={"api_key": "new-key", "body_size": 10})
        assert [await one.publish(key) for key in ("old-key", "new-key")] == [401, 413]
        await one.reload()
        assert [await one.publish(key) for key in ("old-key", "new-key")] == [401, 401]


async def test_the_admin_credentials(tmp_path: Path) -> None:
    old, new = "4f1e8b07c2d95a63-an-old-one-of-ours", "4f1e8b07c2d95a63-a-new-one-of-ours"

    async def status(url: str, headers: dict[str, str]) -> int:
        return (await http("GET", f"{url}/api/v1/connections", headers=headers))[0]

    async with configured(tmp_path, http={"admin_key": old}) as one:
        keys = [{"X-API-Key": old}, {"X-API-Key": new}]
        auth = Config.load({"auth": {"secret": SECRET}}, environ={}).auth
        ways = [*keys, bearer(mint(auth, "root", admin=True))]
        assert [await status(one.server.http, each) for each in ways] == [200, 401, 403]
        await one.reload(http={"admin_key": new}, auth={"admin_tokens": True})
        assert [await status(one.server.http, each) for each in ways] == [401, 200, 200]
        await one.reload()
        assert [await status(one.server.http, each) for each in ways] == [403, 403, 403]


async def test_the_level_of_the_log(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        path = tmp_path / "server.toml"
        path.write_text(toml(logging={"level": "warning"}, server={"close_timeout": 3}))
        one.server.tell(signal.SIGHUP)
        line = await one.server.logs("settings have changed that need a restart")
        assert line["settings"] == "server.close_timeout"
        assert await one.comes_in()
        before = len(one.server.lines())
        await one.reload(logging={"level": "info"})
        messages = [line["message"] for line in one.server.lines()[before:]]
        assert messages == ["reloaded"]


async def test_certificates(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    files = write_certificate(old, tmp_path)
    async with configured(tmp_path, trust=trusting(old), tls=files) as one:

        async def shown_by(authority: trustme.CA) -> bool:
            try:
                return await one.comes_in(ssl=trusting(authority))
            except ssl.SSLCertVerificationError:
                return False

        (tmp_path / "key.pem").write_text("half a k")
        await one.refused("tls.keyfile must be a private key", tls=files)
        assert [await shown_by(each) for each in (old, new)] == [True, False]
        write_certificate(new, tmp_path)
        await one.reload(tls=files)
        assert [await shown_by(each) for each in (old, new)] == [False, True]
        others = write_certificate(old, tmp_path, prefix="other-")
        await one.reload(tls=others)
        assert [await shown_by(each) for each in (old, new)] == [True, False]
        await one.reload()  # turned off
        line = await one.server.logs("settings have changed that need a restart")
        assert line["settings"] == "tls.certfile, tls.keyfile"
        assert await shown_by(old)


async def test_every_fault_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    async with configured(tmp_path, http={"api_key": "old-key"}) as one:
        await one.refused(
            "server.toml:2 [auth] secret: auth.secret must be random",
            "limits.message_size must be a size",
            "server.toml:12 [server] prot: unknown setting",
            auth={"secret": "changeme"},
            server={"prot": 1},
            limits={"message_size": "much"},
            http={"api_key": "new-key"},
            logging={"level": "error"},
        )
        assert [await one.publish(key) for key in ("old-key", "new-key")] == [200, 401]
        await one.client.fails("message_too_large", **_ping(2000))
        one.path.write_text("[server")
        one.server.tell(signal.SIGHUP)
        await one.server.logs("reloading failed, nothing was changed", 4)
        assert await one.comes_in()


async def test_the_key_is_not_taken_away(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        await one.refused("auth.secret must stay", auth={"secret": ""})
        assert await one.comes_in()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_secret_that_was_made_up_stays(workers: str) -> None:
    async with running(VFAST_LOGGING__FORMAT="json", VFAST_SERVER__WORKERS=workers) as server:
        given = server.found(r"everything, for 24 hours:\n +(\S+)")
        server.tell(signal.SIGHUP)
        await server.logs("reloaded")
        async with connect(server.url, additional_headers=bearer(given), proxy=None):
            pass
        assert await server.end() == 0


async def test_what_needs_a_restart_is_told_by_name_in_one_line_each_time(tmp_path: Path) -> None:
    async with configured(tmp_path) as one:
        for times in (1, 2):
            await one.reload(
                server={"port": 1, "ping_interval": 7}, history={"messages": 5}, limits={"message_size": 4096}
            )
            line = await one.server.logs("settings have changed that need a restart", times)
            # The port comes from a flag, which wins over the file.
            assert line["settings"] == "server.ping_interval, history.messages"
            assert line["level"] == "warning"
        assert (await one.client.ask(**_ping(2000)))["type"] == "pong"


@pytest.mark.parametrize("sections", [{"security": {}}, {"security": {"trusted_proxies": ["10.0.0.0/8"]}}])
async def test_what_stays_must_go_with_what_changes(tmp_path: Path, sections: dict[str, Any]) -> None:
    """The PROXY protocol can't be turned off without a restart, and somebody has to speak it."""
    path = tmp_path / "server.toml"
    path.write_text(toml(server={"proxy_protocol": True}, security={"trusted_proxies": ["127.0.0.1"]}))
    async with running("--config", str(path)) as server:
        one = Configured(server, path, None)  # type: ignore[arg-type]
        if sections["security"]:
            await one.reload(**sections)
        else:
            await one.refused("server.proxy_protocol must go with security.trusted_proxies", **sections)
        assert await server.end() == 0
