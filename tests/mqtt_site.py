"""A server with a broker before it, for the tests of the way from MQTT to WebSocket clients."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from harness import Site, running, until
from services import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path


@asynccontextmanager
async def serving(
    directory: Path,
    *,
    users: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    **mqtt: object,
) -> AsyncIterator[tuple[Mosquitto, Site]]:
    """Run a broker and a server that has its subscriptions there.

    Args:
        directory: see Mosquitto, as `users` and `settings`; the server is the last of the users.
        mqtt: settings of `[mqtt]` but `url`.
    """
    with Mosquitto(directory, users=users, settings=settings) as broker:
        url = broker.url
        if users is not None:
            name, password = list(users.items())[-1]
            url = url.replace("//", f"//{name}:{password}@")
        async with running(mqtt={"url": url, **mqtt}) as site:
            await subscribed(site)
            yield broker, site


async def subscribed(site: Site) -> None:
    """Wait until the server has its subscriptions at the broker."""
    health: Any = site.server.health
    await until(lambda: health()["checks"]["mqtt"] == "ok")


def figures(site: Site) -> dict[str, int]:
    """Return the counts of the MQTT producer that are not zero."""
    producers: Any = site.server.stats()["producers"]
    return {name: count for name, count in producers["mqtt"].items() if count}


async def received(site: Site, count: int) -> None:
    """Wait until so many messages have come from the broker."""
    await until(lambda: figures(site).get("messages") == count)
