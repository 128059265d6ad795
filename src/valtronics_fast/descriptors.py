"""How many sockets and files this process may have open (RLIMIT_NOFILE)."""

from __future__ import annotations

import logging
import resource

from valtronics_fast.logging import fields

__all__ = ["raise_descriptor_limit"]

_PER_CONNECTION = 4
"""A client's socket, and as much again for strangers in the handshake, HTTP, and those that are being closed."""

_RESERVE = 64
"""What is open without any client: what listens, the broker's connection, the event loop's own."""

_log = logging.getLogger(__name__)


def raise_descriptor_limit(connections: int) -> None:
    """Raise the soft limit of open descriptors to the hard one, and log when that is not enough.

    Many systems start programs with a soft limit of 1024, for the sake of those that call select(); nothing
    here does. A server that runs out of descriptors can't accept anybody, and says so to nobody. The limit
    counts for the whole process: it is for a process to call this, not for a `Server` within one.

    Args:
        connections: `limits.connections`; with 0, no limit, there is no number to compare with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a system with a further limit of its own
        _log.warning("the limit of open files can't be raised", extra=fields(limit=soft, problem=error))
    else:
        soft = hard
    needed = _PER_CONNECTION * connections + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        _log.warning(
            "the limit of open files is low for limits.connections; raise the hard one (ulimit -Hn)",
            extra=fields(limit=soft, needed=needed, connections=connections),
        )
