"""A server whose time the test makes up, in milliseconds, and clients with a frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from core.frequency_model import TICK
from core.harness import Message, Server, telemetry

if TYPE_CHECKING:
    from core.wire_client import Client

FOREVER = 1e9  # seconds: no token expires
SOON = int(TICK * 1000)  # milliseconds within which the server looks at its clock


class Stage(Server):
    """A Server that begins at 0 ms, with no timers but those of frequencies; options are those of Server."""

    def __init__(self, **options: Any) -> None:
        super().__init__(clock=False, now=0.0, auth_timeout=0, ping_interval=0, **options)
        self.now = 0.0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def user(self, **options: Any) -> Client:
        """Return a client that is authenticated; options are those of token()."""
        return await self.login(self.token(seconds=FOREVER, **options))

    async def subscriber(self, frequency: object = None, channel: str = "telemetry", **filters: object) -> Client:
        """Return a client that has subscribed to a channel."""
        client = await self.user()
        assert await self.order(client, frequency, channel, **filters) == []
        return client

    async def order(
        self, client: Client, frequency: object = None, channel: str = "telemetry", **filters: object
    ) -> list[Any]:
        """Subscribe; return the data that comes before the answer."""
        return await self.told(client, type="subscribe", id=1, channel=channel, frequency=frequency, **filters)

    async def told(self, client: Client, **command: object) -> list[Any]:
        """Send a command, which succeeds; return the data that comes before its answer."""
        await client.say(**command)
        *data, answer = await client.settled()
        assert answer["success"] is True, answer
        return [short(message) for message in data]

    def at(self, milliseconds: int) -> Self:
        """Go on to a time, without a look at the clock."""
        assert milliseconds / 1000 >= self.now
        self.now = milliseconds / 1000
        return self

    def publish(self, device: int | str | None = 1, **values: object) -> int:
        """Publish values of a device, or of the system, at this time; return how many subscriptions matched."""
        if device is None:
            return self.hub.publish({"type": "system_status_update", "metrics": values, "timestamp": "T"}, self.now)
        return self.hub.publish(telemetry(device, **values), self.now)

    def tick(self) -> Self:
        """Let the server look at its clock."""
        self.hub.advance(self.now)
        return self

    async def heard(self, client: Client) -> list[Any]:
        """Return what a client has received by now, in short."""
        return [short(message) for message in await client.settled()]

    @property
    def cohorts(self) -> int:
        return self.hub.pacer.stats()["cohorts"]


def short(message: Message) -> Any:
    """Return (device, values) of a telemetry_update, the values of a system_status_update."""
    if message["type"] == "system_status_update":
        return message["metrics"]
    values = {name: metric["value"] for name, metric in message["telemetry"].items()}
    return message["device_id"], values
