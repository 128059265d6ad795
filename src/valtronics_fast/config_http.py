"""The settings of the HTTP port: the section `http`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from valtronics_fast import config_checks as checks
from valtronics_fast.setting import Count, Section, Size, setting

__all__ = ["Host", "HttpConfig", "Port"]

List = tuple[str, ...]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Host = Annotated[str, setting(allowed="a host name or IP address", check=checks.check_host)]


class HttpConfig(Section, frozen=True, kw_only=True):
    """The HTTP port: publishing, health, statistics, administration, the dashboard."""

    host: Annotated[Host, setting("Address to listen on for HTTP.", flag="--http-host")] = "127.0.0.1"
    port: Annotated[
        Port, setting("Port to listen on for HTTP.", zero="the system picks a free one", flag="--http-port")
    ] = 8001
    fd: Annotated[
        Count,
        setting(
            "Descriptor of a listening socket that was passed on, in place of `host` and `port`.",
            zero="the socket `http` of systemd, or else one of its own",
            flag="--http-fd",
        ),
    ] = 0
    api_key: Annotated[
        str,
        setting(
            "Key that may publish over HTTP and see the statistics, in the header X-API-Key.",
            zero="only tokens may publish",
            allowed="printable ASCII without spaces",
            sensitive="all",
            check=checks.check_api_key,
        ),
    ] = ""
    admin_key: Annotated[
        str,
        setting(
            "Key that opens the admin functions (docs/http-api.md), in the same header. It does not publish.",
            zero="only tokens with the claim `admin` open them, where `auth.admin_tokens` is on; else nothing does",
            allowed="at least 32 printable ASCII characters without spaces, random, another one than `api_key`",
            sensitive="all",
            check=checks.check_admin_key,
        ),
    ] = ""
    body_size: Annotated[Size, setting("Largest body of a request.", zero="no limit")] = 8 << 20
    publish_rate: Annotated[
        Count,
        setting(
            "Messages a second that one user, or the key, may publish over HTTP, and as many at once; then HTTP 429.",
            zero="no limit",
        ),
    ] = 0
    metrics_networks: Annotated[
        List,
        setting(
            "Client addresses that may ask for `/metrics` without a key or token.",
            zero="as for the statistics",
            allowed="IP addresses and networks",
            check=checks.check_networks,
        ),
    ] = ()
    dashboard: Annotated[bool, setting("Whether browsers get the dashboard at `/` (docs/dashboard.md).")] = True
    websocket_url: Annotated[
        str,
        setting(
            "Where the dashboard finds the WebSocket port, when a proxy stands before it.",
            zero="the host that the browser asked for, and `server.port`",
            allowed="wss://host[:port]/path, ws://..., or a /path of the page's own host",
            check=checks.check_websocket_url,
        ),
    ] = ""
