"""The rows of the campaign, in their order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cluster.campaign import Row
from cluster.nodes import wipe_log
from cluster.proxy import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.campaign import Campaign

__all__ = ["ROWS"]


async def node_killed(campaign: Campaign) -> None:
    node = campaign.nodes[1]
    node.kill()
    await asyncio.sleep(campaign.scaled(5, 1))
    await node.start()
    campaign.over()


async def node_stopped(campaign: Campaign) -> None:
    campaign.nodes[1].freeze()
    await asyncio.sleep(campaign.scaled(20, 6))
    campaign.nodes[1].thaw()
    campaign.over()


async def rolling_restart(campaign: Campaign) -> None:
    for node in campaign.nodes:
        await node.stop()
        await node.start()
        await asyncio.sleep(campaign.scaled(3, 0.5))
    campaign.over()


async def log_killed(campaign: Campaign) -> None:
    campaign.log.kill()
    await asyncio.sleep(campaign.scaled(5, 1))
    await asyncio.to_thread(campaign.log.start)
    campaign.over()


async def log_emptied(campaign: Campaign) -> None:
    campaign.log.kill()
    wipe_log(campaign.log_directory)
    await asyncio.sleep(campaign.scaled(5, 1))
    await asyncio.to_thread(campaign.log.start)
    campaign.over()


async def log_stopped(campaign: Campaign) -> None:
    campaign.log.freeze()
    await asyncio.sleep(campaign.scaled(20, 6))
    campaign.log.thaw()
    campaign.over()


async def clients_move_meanwhile(campaign: Campaign) -> None:
    """Have a part of the clients come back, and a node start, while the log is away."""
    campaign.log.kill()
    campaign.nodes[2].kill()
    for client in campaign.clients[::4]:
        client.cut()
    await asyncio.gather(campaign.nodes[2].start(), asyncio.sleep(campaign.scaled(10, 3)))
    await asyncio.to_thread(campaign.log.start)
    campaign.over()


def through_proxy(mode: Mode, full: float, quick: float) -> Callable[[Campaign], Awaitable[None]]:
    """Return a fault of the first node's connections to the log."""

    async def fault(campaign: Campaign) -> None:
        campaign.proxy.set(mode)
        await asyncio.sleep(campaign.scaled(full, quick))
        campaign.proxy.set(Mode.PASS)
        campaign.over()

    return fault


ROWS = (
    Row("node-killed", "a node is killed (-9), and replaced after 5 s", node_killed),
    Row("node-stopped", "a node stands still for 20 s (SIGSTOP)", node_stopped),
    Row("rolling-restart", "each node in turn is stopped (SIGTERM) and replaced", rolling_restart, lossless=True),
    Row("log-killed", "the log is killed (-9), and started after 5 s with its data", log_killed, apart=True),
    Row("log-emptied", "the log is killed (-9), and started after 5 s without data", log_emptied, apart=True),
    Row("log-stopped", "the log stands still for 20 s (SIGSTOP)", log_stopped, apart=True),
    Row(
        "clients-move", "the log is away for 10 s; meanwhile a node is replaced, and a quarter of the clients return",
        clients_move_meanwhile, apart=True,
    ),
    Row(
        "cut-swallowed", "what one node and the log send each other vanishes for 20 s, on connections that stay open",
        through_proxy(Mode.SWALLOW, 20, 6), apart=True,
    ),
    Row(
        "cut-reset", "one node's connections to the log are reset for 5 s",
        through_proxy(Mode.REFUSE, 5, 1), apart=True,
    ),
    Row(
        "cut-delayed", "what one node and the log send each other is 0.5 s late for 15 s",
        through_proxy(Mode.DELAY, 15, 3), apart=True,
    ),
)  # fmt: skip
