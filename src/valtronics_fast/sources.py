"""Where the data of a server comes from: the producers that its settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes.shared import SharedBackplane
from valtronics_fast.producers.mqtt import MqttProducer
from valtronics_fast.producers.simulated import SimulatedFleet
from valtronics_fast.producers.system import SystemProducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from valtronics_fast._core.hub import Hub
    from valtronics_fast.backplanes.base import Backplane
    from valtronics_fast.config import Config
    from valtronics_fast.producers.base import Producer
    from valtronics_fast.room import Room

__all__ = ["make_producers"]

MEMORY = "memory://"
"""The backplane of one machine, of whose processes the first one ingests."""


def make_producers(
    config: Config, room: Room, deliveries: Callable[[], int], hub: Hub, backplane: Backplane
) -> list[Producer]:
    """Return the producers that the settings ask for, none of them started.

    Args:
        config: the settings.
        room: counts the connections and messages that are among the figures of this host.
        deliveries: how many messages this process has sent.
        hub: what is known of devices.
        backplane: who else there is.
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
        producers.append(_make_mqtt(config, hub, backplane))
    if config.demo:
        producers.append(SimulatedFleet())
    return producers


def _make_mqtt(config: Config, hub: Hub, backplane: Backplane) -> MqttProducer:
    """Return the producer for MQTT: of several nodes, one whose session the others can go on with."""
    if not isinstance(backplane, SharedBackplane):
        return MqttProducer(config.mqtt)
    if config.backplane.url == MEMORY:
        return MqttProducer(config.mqtt, outlet=backplane)
    client_id = config.mqtt.client_id or f"valtronics-{config.backplane.prefix}"
    statuses = hub.latest[Channel.DEVICES]
    status_of = (lambda _: None) if statuses is None else statuses.state_of
    return MqttProducer(msgspec.structs.replace(config.mqtt, client_id=client_id), backplane, status_of)
