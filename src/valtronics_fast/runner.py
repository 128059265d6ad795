"""The life of a server process: start, banner, signals, drain; and what the service manager is told of it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import uvloop

from valtronics_fast import banner
from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.descriptors import raise_descriptor_limit
from valtronics_fast.errors import ConfigError, StartError
from valtronics_fast.inherited import inherit
from valtronics_fast.logging import fields, setup
from valtronics_fast.notify import Notifier
from valtronics_fast.server import Server
from valtronics_fast.tokens import mint
from valtronics_fast.version import version

if TYPE_CHECKING:
    from valtronics_fast.config_source import ConfigSource
    from valtronics_fast.workers.supervisor import Supervisor

__all__ = ["StartError", "run"]

TOKEN_LIFETIME = 24 * 3600.0
"""Seconds that the token of the banner is good for."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger(__name__)


def run(config: Config, source: ConfigSource) -> None:
    """Serve until SIGINT or SIGTERM, then drain. SIGHUP has the configuration loaded anew.

    Args:
        config: the settings.
        source: where they came from.

    With more than one worker this process becomes their supervisor (`workers.supervisor`).

    Raises:
        ConfigError: the keys, the TLS files or the sockets that were passed on do not fit the configuration.
        StartError: the server could not start.
    """
    setup(config.logging.level, config.logging.format)
    raise_descriptor_limit(config.limits.connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(config, source))


async def _serve(config: Config, source: ConfigSource) -> None:
    """Start, say where, wait for a signal, drain. A second signal does what it does to any process: it ends it."""
    loop = asyncio.get_running_loop()
    ended, hung_up = asyncio.Event(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    server = _make_server(config)
    server.on_drain = ended.set
    try:
        await server.start()
    except OSError as error:
        await server.stop()
        raise StartError(_find_listen_faults(config) or [f"the server could not start: {error}"]) from error
    with closing(Notifier()) as notifier:
        notifier.ready(_status(server))
        notifier.keep_alive()
        print(_banner(server, config), flush=True)
        reloading = asyncio.create_task(_reload_for_ever(hung_up, server, source, notifier), name="reload")
        await ended.wait()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # asyncio leaves SIGINT to Python, which would end things in order
        reloading.cancel()
        notifier.stopping("draining")
        await server.drain()


def _make_server(config: Config) -> Server | Supervisor:
    """Return what serves: this process, or several that it starts."""
    workers = config.server.workers or len(os.sched_getaffinity(0))
    if workers == 1:
        return Server(config)
    if sys.platform != "linux":
        raise StartError(["server.workers: several processes share memory and a port in ways that only Linux has"])
    from valtronics_fast.workers.supervisor import Supervisor  # noqa: PLC0415 - most run without it

    return Supervisor(config, workers, inherit(config))


def _banner(server: Server | Supervisor, config: Config) -> str:
    """Return what is printed at the start; `config` is as it was given."""
    auth = server.config.auth
    secret_made_up = auth.secret != config.auth.secret
    token = ""
    if auth.secret and (secret_made_up or config.demo):
        token = mint(
            auth,
            "operator",
            channels=CHANNELS,
            devices="*",
            publish=True,
            admin=auth.admin_tokens,
            expires=TOKEN_LIFETIME,
        )
    return banner.render(
        server.config,
        version=version(),
        host=server.host,
        port=server.port,
        http_host=server.http_host,
        http_port=server.http_port,
        token=token,
        secret_made_up=secret_made_up,
    )


def _status(server: Server | Supervisor) -> str:
    """Return a line on the service for people."""
    return f"WebSocket on {server.host} port {server.port}, HTTP on {server.http_host} port {server.http_port}"


async def _reload_for_ever(
    hung_up: asyncio.Event, server: Server | Supervisor, source: ConfigSource, notifier: Notifier
) -> None:
    """Reload whenever it is asked for; what is asked meanwhile makes one more."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        notifier.reloading()
        try:
            await _reload(server, source)
        except ConfigError as error:
            for problem in source.place(error.problems):
                _log.error("reloading failed, nothing was changed", extra=fields(problem=problem))
        except Exception:  # noqa: BLE001 - logged, and the server runs on
            _log.exception("reloading failed")
        notifier.ready(_status(server))


async def _reload(server: Server | Supervisor, source: ConfigSource) -> None:
    """Put a new configuration in force.

    Raises:
        ConfigError: with every fault; nothing has changed.
    """
    needs_restart = await server.reload(source.load())
    config = server.config
    setup(config.logging.level, config.logging.format)
    raise_descriptor_limit(config.limits.connections)
    _log.info("reloaded")
    if needs_restart:
        _log.warning("settings have changed that need a restart", extra=fields(settings=", ".join(needs_restart)))


def _find_listen_faults(config: Config) -> list[str]:
    """Find out which of the two addresses can't be listened on, and say which settings change it."""
    faults = []
    for name in ("server", "http"):
        host, port = SETTINGS[f"{name}.host"], SETTINGS[f"{name}.port"]
        section = getattr(config, name)
        if section.fd:
            continue
        try:
            _try_bind(section.host, section.port)
        except OSError as error:
            settings = (port,) if error.errno == errno.EADDRINUSE else (host, port)
            change = " or ".join(f"{one.flag} ({one.variable}, [{name}] {one.name})" for one in settings)
            where = f"{section.host}:{section.port}"
            faults.append(f"cannot listen on {where}: {error.strerror}; change {change}")
    return faults


def _try_bind(host: str, port: int) -> None:
    """Bind to an address as a server does, and let go of it; OSError says why that fails."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
