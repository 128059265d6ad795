"""Where the data of a server comes from: the producers that its settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.producers.mqtt import MqttProducer
from valtronics_fast.producers.simulated import SimulatedFleet
from valtronics_fast.producers.system import SystemProducer

if TYPE_CHECKING:
    from valtronics_fast._core.hub import Hub
    from valtronics_fast.clients import Clients
    from valtronics_fast.config import Config
    from valtronics_fast.producers.base import Producer

__all__ = ["make_producers"]


def make_producers(config: Config, clients: Clients, hub: Hub) -> list[Producer]:
    """Return the producers that the settings ask for, none of them started.

    Args:
        config: the settings.
        clients: whose number is among the figures of this host.
        hub: and how much it delivers.
    """
    producers: list[Producer] = []
    if config.system.interval:
        producers.append(
            SystemProducer(
                config.system.interval,
                connections=lambda: clients.active,
                messages=lambda: sum(channel["deliveries"] for channel in hub.stats().values()),
            )
        )
    if config.mqtt.url:
        producers.append(MqttProducer(config.mqtt))
    if config.demo:
        producers.append(SimulatedFleet())
    return producers
