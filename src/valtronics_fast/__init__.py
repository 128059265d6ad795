"""valtronics_fast: a WebSocket telemetry server for IoT dashboards, with a compiled hot path.

    from valtronics_fast import Config, Server

    async with Server(Config.load("server.toml")) as server:
        server.publish({"type": "telemetry_update", "device_id": 1, "telemetry": {"temperature": 23.5}})

The command line is `python -m valtronics_fast`; docs/ has the rest.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valtronics_fast._core.publication import PublicationError
    from valtronics_fast.config import Config
    from valtronics_fast.errors import AuthError, ConfigError, ValtronicsError
    from valtronics_fast.server import Server

__all__ = ["AuthError", "Config", "ConfigError", "PublicationError", "Server", "ValtronicsError"]

# Where the names above live. They are imported when they are first used: the command line's help, or a test
# of the core, need not wait for an HTTP server to be imported.
_HOMES = {
    "AuthError": "errors",
    "Config": "config",
    "ConfigError": "errors",
    "PublicationError": "errors",
    "Server": "server",
    "ValtronicsError": "errors",
}

if find_spec("valtronics_fast._core.session") is None:
    raise ImportError(
        "the compiled core of valtronics_fast is missing: this is a source tree that was not built. "
        "Build and install it with `make build` or `pip install .`, and run it from the environment that "
        "this installs into; there is no slower fallback"
    )


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
