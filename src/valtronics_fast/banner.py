"""What `serve` prints once it runs: where it listens, and how to see live data at once."""

from __future__ import annotations

import ipaddress
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valtronics_fast.config import Config

__all__ = ["render"]

# What a first look at the demo shows: a few devices, so that people can read it, namely those that something happens
# to soon after the start, and what it happens to.
_DEMO = "--device 3 --device 10 --device 24 --metric temperature --metric battery"


def render(
    config: Config,
    *,
    version: str,
    host: str,
    port: int,
    http_host: str,
    http_port: int,
    token: str,
    secret_made_up: bool,
) -> str:
    """Render the text.

    Args:
        config: the settings in force.
        version: the program's version.
        host: the address of the WebSocket port, which is not the configured one where a socket was passed on.
        port: the port, which may be another one for that reason, or because 0 is configured.
        http_host: the address of the HTTP port, likewise.
        http_port: the HTTP port, likewise.
        token: a token to show and to try the server with; "" for none.
        secret_made_up: no key is configured, and the secret is one for this run.
    """
    scheme = "wss" if config.tls.certfile else "ws"
    address = f"{scheme}://{_reachable(host)}:{port}"
    http = f"http://{_reachable(http_host)}:{http_port}"
    parts = [
        f"valtronics_fast {version} is running; Ctrl-C stops it.\n",
        *([f"  Dashboard  {http}/"] if config.http.dashboard else []),
        f"  WebSocket  {address}/ws",
        f"  HTTP       {http}/health/ready  {http}/api/v1/stats",
    ]
    if config.demo:
        parts.append("  Demo       simulated devices send telemetry, alerts and status changes")
    if secret_made_up:
        parts.append(
            "\nNo key is configured: a random secret was made up, and tokens signed with it end with the run."
            "\nTo keep them, set VFAST_AUTH__SECRET or [auth] secret (openssl rand -base64 48 makes one)."
        )
    if token:
        channel, data, wanted = (
            ("telemetry", "telemetry", _DEMO) if config.demo else ("system", "figures of this host", "system")
        )
        program, place = _program()
        header = f"-H 'Authorization: Bearer {token}'"
        # websocat takes everything behind -H for headers, so that it has to stand last.
        parts += [
            f"\nA token that may see and publish everything, for 24 hours:\n  {token}",
            f"\nWatch live {data} in another terminal{place}, with one of these:",
            f"  {program} subscribe {wanted} --url {address}/ws --token {token}",
            f"  wscat -c {address}/ws/{channel} {header}",
            f"  websocat {address}/ws/{channel} {header}",
        ]
    return "\n".join(parts) + "\n"


def _program() -> tuple[str, str]:
    """Return how this program is called in a shell, and where, if that makes a difference."""
    executable = Path(sys.executable)
    try:
        below = executable.relative_to(Path.cwd())
    except (ValueError, OSError):  # it lies elsewhere, or the directory is gone
        return f"{shlex.quote(str(executable))} -m valtronics_fast", ""
    here = f"./{below}" if len(below.parts) == 1 else str(below)  # without a slash, a shell looks elsewhere
    return f"{shlex.quote(here)} -m valtronics_fast", ", in this directory"


def _reachable(host: str) -> str:
    """Return the host for a URL on this machine: loopback for "all interfaces", brackets around IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
