"""Where the data of a server comes from: the producers that its settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.producers.mqtt import MqttProducer
from valtronics_fast.producers.simulated import SimulatedFleet
from valtronics_fast.producers.system import SystemProducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast.config import Config
    from valtronics_fast.producers.base import Producer
    from valtronics_fast.room import Room

__all__ = ["make_producers"]


def make_producers(config: Config, room: Room, deliveries: Callable[[], int]) -> list[Producer]:
    """Return the producers that the settings ask for, none of them started.

    Args:
        config: the settings.
        room: counts the connections and messages that are among the figures of this host.
        deliveries: how many messages this process has sent.
    """
    producers: list[Producer] = []
    if config.system.interval:
        producers.append(
            SystemProducer(
                config.system.interval,
                connections=room.connections,
                messages=lambda: room.messages(deliveries()),
            )
        )
    if config.mqtt.url:
        producers.append(MqttProducer(config.mqtt))
    if config.demo:
        producers.append(SimulatedFleet())
    return producers
