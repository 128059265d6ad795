"""Where the data of a server comes from: the producers that its settings ask for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from valtronics_fast._core.wire import Channel
from valtronics_fast.backplanes import MEMORY
from valtronics_fast.backplanes.shared import SharedBackplane
from valtronics_fast.producers.mqtt import ROLE, MqttProducer
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

_LOOK: Final = 0.1
"""Seconds between two looks whether the supervisor has taken what waits for it."""


def make_producers(
    config: Config,
    room: Room,
    deliveries: Callable[[], int],
    hub: Hub,
    backplane: Backplane,
    *,
    succeeds: bool = False,
) -> list[Producer]:
    """Return the producers that the settings ask for, none of them started.

    Args:
        config: the settings.
        room: counts the connections and messages that are among the figures of this host.
        deliveries: how many messages this process has sent.
        hub: what is known of devices.
        backplane: who else there is.
        succeeds: this process takes the place of a worker that has ended.
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
        producers.append(_make_mqtt(config, hub, backplane, succeeds=succeeds))
    if config.demo:
        producers.append(SimulatedFleet())
    return producers


def _make_mqtt(config: Config, hub: Hub, backplane: Backplane, *, succeeds: bool) -> MqttProducer:
    """Return the producer for MQTT: of several nodes, one whose session the others can go on with."""
    if not isinstance(backplane, SharedBackplane):
        return MqttProducer(config.mqtt)
    statuses = hub.latest[Channel.DEVICES]
    status_of = (lambda _: None) if statuses is None else statuses.state_of
    if config.backplane.url == MEMORY:
        backplane.election.appoint(ROLE, succeeds=succeeds)
        return MqttProducer(config.mqtt, _Bus(backplane), status_of)
    client_id = config.mqtt.client_id or f"valtronics-{config.backplane.prefix}"
    return MqttProducer(msgspec.structs.replace(config.mqtt, client_id=client_id), backplane, status_of)


class _Bus:
    """The bus between workers, for the one that ingests (`Cluster`).

    It is never away while this process lives, only slow. So what waits for it is acknowledged when it is there and no
    sooner, however long that takes.
    """

    def __init__(self, backplane: SharedBackplane) -> None:
        self.election = backplane.election
        self.publish = backplane.publish
        self.congested = backplane.congested
        self.follow = backplane.follow
        self._backplane = backplane

    async def settled(self) -> bool:
        """Wait until the supervisor has what has been published."""
        while not await self._backplane.settled():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_LOOK)
        return True
