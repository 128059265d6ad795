"""Listening sockets that somebody else has opened: passed on by number (`server.fd`), or by systemd (sd_listen_fds(3)).

Who passed them on keeps them open over a restart, so that nobody is refused who connects meanwhile: connections wait
in the kernel's queue for the next process.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from valtronics_fast.addresses import is_loopback
from valtronics_fast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from valtronics_fast.config import Config

__all__ = ["HTTP", "WEBSOCKET", "inherit", "public_host"]

WEBSOCKET: Final = "ws"
HTTP: Final = "http"

_SETTINGS: Final = {WEBSOCKET: "server.fd", HTTP: "http.fd"}
_FIRST: Final = 3  # SD_LISTEN_FDS_START
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherit(config: Config, environ: MutableMapping[str, str] | None = None) -> dict[str, list[socket.socket]]:
    """Take over the listening sockets that were passed on to this process, at the first call.

    Args:
        config: the settings `server.fd` and `http.fd`.
        environ: where LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID stand, which are taken out so that no child takes them
            for its own; None is this process's own environment.

    Returns:
        the sockets by WEBSOCKET and HTTP, no entry where there is none. systemd has several of one name where a
        unit has several addresses.

    Raises:
        ConfigError: with every descriptor that is no listening TCP socket, and every name that is not one of ours.
    """
    problems: list[str] = []
    found = _passed_by_systemd(os.environ if environ is None else environ, problems)
    for name, number in ((WEBSOCKET, config.server.fd), (HTTP, config.http.fd)):
        if number and name in found:
            problems.append(f"{_SETTINGS[name]} must not go with a socket of systemd that is named {name}")
        elif number:
            found[name] = [(number, _SETTINGS[name])]
    sockets = {name: [_adopt(*each, problems) for each in numbers] for name, numbers in found.items()}
    taken = {name: [sock for sock in each if sock is not None] for name, each in sockets.items()}
    if problems:
        for each in taken.values():
            for sock in each:
                sock.detach()
        raise ConfigError(problems)
    return taken


def public_host(sockets: Sequence[socket.socket]) -> str:
    """Return the address that says who can reach these sockets: one that is not this machine's alone, if there is."""
    hosts = [str(sock.getsockname()[0]) for sock in sockets]
    return next((host for host in hosts if not is_loopback(host)), hosts[0])


def _passed_by_systemd(environ: MutableMapping[str, str], problems: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Return the numbers of systemd's descriptors by name, each with what it is called in errors."""
    variables = {name: environ.get(name, "") for name in _VARIABLES}
    found: dict[str, list[tuple[int, str]]] = {}
    if variables["LISTEN_PID"] != str(os.getpid()):
        return found
    for name in _VARIABLES:
        environ.pop(name, None)
    count, names = variables["LISTEN_FDS"], variables["LISTEN_FDNAMES"].split(":")
    if not (count.isascii() and count.isdecimal()) or len(names) != int(count):
        problems.append(f"LISTEN_FDNAMES must name each of the {count!r} sockets of LISTEN_FDS")
        return found
    for number, name in enumerate(names, _FIRST):
        if name in _SETTINGS:
            found.setdefault(name, []).append((number, f"socket {number} of systemd"))
        else:
            known = " or ".join(_SETTINGS)
            problems.append(f"socket {number} of systemd must be named {known} (FileDescriptorName=), not {name!r}")
    return found


def _adopt(number: int, title: str, problems: list[str]) -> socket.socket | None:
    """Return the socket of a descriptor, which is a listening TCP one."""
    try:
        sock = socket.socket(fileno=number)
    except OSError as error:
        problems.append(f"{title} must be a listening TCP socket; descriptor {number}: {error.strerror}")
        return None
    if (
        sock.family not in {socket.AF_INET, socket.AF_INET6}
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        problems.append(f"{title} must be a listening TCP socket; descriptor {number} is another one")
        sock.detach()
        return None
    sock.set_inheritable(False)
    return sock
