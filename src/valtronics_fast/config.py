"""The settings: the one definition of every name, unit, default and meaning of zero.

TOML keys, VFAST_<SECTION>__<NAME> variables, flags and docs/configuration.md all follow from the fields
below; `python -m valtronics_fast.config` prints that page. Once loaded, durations are seconds, sizes bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from valtronics_fast import config_checks as checks
from valtronics_fast.addresses import is_loopback
from valtronics_fast.config_backplane import BackplaneConfig
from valtronics_fast.config_http import Host, HttpConfig, Port
from valtronics_fast.config_limits import HistoryConfig, LimitsConfig
from valtronics_fast.config_load import gather
from valtronics_fast.config_logging import LoggingConfig
from valtronics_fast.config_security import AuthConfig, SecurityConfig, TlsConfig
from valtronics_fast.errors import ConfigError
from valtronics_fast.producers.mapping import DEFAULT_TOPICS
from valtronics_fast.setting import Count, Duration, Section, Setting, all_settings, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from valtronics_fast.config_load import Found

__all__ = [
    "SETTINGS",
    "AuthConfig",
    "BackplaneConfig",
    "Config",
    "HistoryConfig",
    "HttpConfig",
    "LimitsConfig",
    "LoggingConfig",
    "MqttConfig",
    "SecurityConfig",
    "ServerConfig",
    "SystemConfig",
    "TlsConfig",
    "is_reloaded",
]

List = tuple[str, ...]


class ServerConfig(Section, frozen=True, kw_only=True):
    """The WebSocket port and the timers of its connections."""

    host: Annotated[
        Host, setting("Address to listen on for WebSocket; 0.0.0.0 or :: for all interfaces.", flag="--host")
    ] = "127.0.0.1"
    port: Annotated[
        Port, setting("Port to listen on for WebSocket.", zero="the system picks a free one", flag="--port")
    ] = 8000
    fd: Annotated[
        Count,
        setting(
            "Descriptor of a listening socket that was passed on, in place of `host` and `port` (docs/operations.md).",
            zero="the socket `ws` of systemd, or else one of its own",
            flag="--fd",
        ),
    ] = 0
    workers: Annotated[
        int,
        msgspec.Meta(ge=0, le=256),
        setting(
            "Processes that share the connections (docs/operations.md).",
            unit="processes",
            zero="as many as there are CPUs",
            flag="--workers",
        ),
    ] = 1
    worker_timeout: Annotated[
        Duration,
        setting(
            "A worker whose event loop stands still for so long is killed and started again. What it waits for a CPU "
            "or a disk does not count.",
            zero="never",
        ),
    ] = 30.0
    handshake_timeout: Annotated[
        Duration,
        setting(
            "Time for the PROXY header and TLS that open a connection, and as much again for the HTTP request.",
            zero="no limit",
        ),
    ] = 5.0
    proxy_protocol: Annotated[
        bool,
        setting(
            "Whether each connection begins with a header of the PROXY protocol (version 1 or 2), before TLS. Only "
            "`security.trusted_proxies` may connect then."
        ),
    ] = False
    ping_interval: Annotated[
        Duration, setting("A client that sent nothing for so long gets a WebSocket ping.", zero="no pings")
    ] = 25.0
    ping_timeout: Annotated[
        Duration, setting("Time for the answer to a ping, then close 4103.", zero="no limit")
    ] = 8.0
    close_timeout: Annotated[
        Duration, setting("Time for the peer of a closed connection to go.", zero="it is cut off at once")
    ] = 2.0
    drain_window: Annotated[
        Duration,
        setting("On SIGTERM, clients are closed (1012) evenly over so long a time.", zero="all at once"),
    ] = 10.0
    flush_interval: Annotated[
        Duration,
        setting(
            "Data for a connection is gathered for so long and then leaves in one write: less CPU, more latency. "
            "Answers do not wait.",
            zero="each turn of the event loop",
        ),
    ] = 0.0
    compression: Annotated[
        bool,
        setting(
            "Whether messages are compressed (permessage-deflate) for clients that offer it: less traffic, more CPU. "
            "Each message is compressed once, whoever receives it."
        ),
    ] = False


class MqttConfig(Section, frozen=True, kw_only=True):
    """Data from an MQTT broker."""

    url: Annotated[
        str,
        setting(
            "The broker; mqtts:// is with TLS.",
            zero="no MQTT",
            allowed="mqtt://[user:password@]host[:port] or mqtts://...",
            sensitive="url",
            check=checks.check_mqtt_url,
        ),
    ] = ""
    client_id: Annotated[
        str, setting("Client id at the broker.", zero="a random one, or with a shared backplane one of its prefix")
    ] = ""
    session_expiry: Annotated[
        Duration,
        setting(
            "How long the broker keeps what has QoS 1 for this client id while nobody is connected (MQTT 5).",
            zero="not at all",
        ),
    ] = 3600.0
    topics: Annotated[
        List,
        setting(
            "Which topics are taken, and as what (docs/mqtt.md).",
            allowed="rules `PATTERN => KIND`",
            check=checks.check_topics,
        ),
    ] = DEFAULT_TOPICS


class SystemConfig(Section, frozen=True, kw_only=True):
    """The figures of this host on the channel `system`."""

    interval: Annotated[Duration, setting("Time between two measurements.", zero="no figures")] = 5.0


class Config(Section, frozen=True, kw_only=True):
    """All settings. Immutable; secrets and passwords are masked when it is printed."""

    server: ServerConfig = ServerConfig()
    http: HttpConfig = HttpConfig()
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()
    history: HistoryConfig = HistoryConfig()
    security: SecurityConfig = SecurityConfig()
    tls: TlsConfig = TlsConfig()
    mqtt: MqttConfig = MqttConfig()
    system: SystemConfig = SystemConfig()
    backplane: BackplaneConfig = BackplaneConfig()
    logging: LoggingConfig = LoggingConfig()
    demo: Annotated[
        bool,
        setting(
            "Publish a simulated fleet of devices; where HTTP is on loopback, the token that is shown opens the admin "
            "functions, too, unless `auth.admin_tokens` is set.",
            flag="--demo",
        ),
    ] = False

    @classmethod
    def load(
        cls,
        source: Mapping[str, Mapping[str, object]] | str | Path | None = None,
        /,
        *,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Gather the settings out of their sources (`config_load.gather`).

        Args:
            source: a TOML file's path, or sections as such a file has them.
            flags: values by `section.name`, and `demo`; None stands for a flag that was not given.
            environ: the environment; None is this process's own.

        Raises:
            ConfigError: with every fault that was found.
        """
        return cls.of(gather(SETTINGS, source, flags or {}, os.environ if environ is None else environ))

    @classmethod
    def of(cls, found: Found) -> Config:
        """Return what was found in the sources as settings, if nothing was wrong; ConfigError as of `load`.

        What one setting implies for others is added to what was found.
        """
        sections: dict[str, Any] = {}
        for key, value in found.values.items():
            section, _, name = key.rpartition(".")
            (sections.setdefault(section, {}) if section else sections)[name] = value
        config = msgspec.convert(sections, cls)
        if config.demo and is_loopback(config.http.host) and "auth.admin_tokens" not in found.values:
            found.take(SETTINGS["auth.admin_tokens"], True, found.locate("demo"))
            return cls.of(found)
        conflicts = checks.find_conflicts(config, lambda key: key not in found.faulty)
        problems = [*found.problems, *found.place(SETTINGS, (f"{key} {text}" for key, text in conflicts))]
        if problems:
            raise ConfigError(problems)
        return config


SETTINGS = all_settings(Config)
"""Every setting by `section.name`, in the order of the sections."""


_RELOADED = frozenset({"auth", "limits", "security", "tls", "logging"})
_RELOADED_BESIDE = frozenset(
    {
        "server.drain_window", "http.api_key", "http.admin_key", "http.body_size", "http.publish_rate",
        "http.metrics_networks",
    }
)


def is_reloaded(setting: Setting) -> bool:
    """Say whether a running server takes a new value of a setting (`Server.reload`)."""
    return setting.section in _RELOADED or setting.key in _RELOADED_BESIDE


if __name__ == "__main__":
    from valtronics_fast.config_reference import reference

    print(reference(), end="")
