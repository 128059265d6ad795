"""A server whose clients stop reading when the test says so, and what they get when they read on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from core.paced import FOREVER, Stage, short

if TYPE_CHECKING:
    from core.harness import Message
    from core.wire_client import Client

# The kernel rounds it up; it is small enough that most writes are not taken whole.
SMALL = 4096
MARK = 20_000
FILLER = {"type": "alert", "device_id": 0, "severity": "filler", "message": "x" * 1000}


class Jam(Stage):
    """A Stage with small buffers, where connections get behind at MARK; options are those of Server."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"send_buffer": SMALL, "queue_mark": MARK, "queue_limit": 1 << 20} | options)

    async def reader(self, *, auth: Message | None = None, **options: Any) -> Client:
        """Return a client that can get behind; `auth` is added to that command, options are those of token()."""
        client = await self.connect(receive_buffer=SMALL)
        token = self.token(seconds=FOREVER, **options)
        assert (await client.ask(type="auth", token=token, **auth or {}))["success"] is True
        answer = await client.ask(type="subscribe", id=1, channel="alerts", severity="filler")
        assert answer["success"] is True
        return client

    async def taken(self, client: Client, **command: object) -> Message:
        """Send a command, which succeeds; return its answer, which may come behind data that is thrown away."""
        await client.say(id="taken", **command)
        while (message := await client.hear()).get("id") != "taken":
            pass
        assert message["success"] is True, message
        return message

    async def done(self, client: Client, **command: object) -> None:
        """Send a command to a connection that does not read, and wait until the server has handled it."""
        before = client.session.messages_in
        await client.say(**command)
        while client.session.messages_in == before:
            await asyncio.sleep(0)

    async def jam(self, client: Client) -> None:
        """Publish what only clients of reader() get, until one more of them is behind; `client` does not read."""
        before = self.hub.behind
        while self.hub.behind == before:
            assert client.session.close_code == 0
            self.hub.publish(FILLER, self.now)
            await asyncio.sleep(0)

    async def drained(self, client: Client) -> list[Message]:
        """Have a client read on until nobody is behind; return what it gets, without the fillers."""
        messages: list[Message] = []
        while True:
            idle = not self.hub.behind and not client.session.queued_bytes
            messages += await self.settled_one(client)
            if idle:
                return [message for message in messages if message.get("severity") != "filler"]

    async def settled_one(self, client: Client) -> list[Message]:
        (messages,) = await self.settled(client)
        return messages

    async def caught_up(self, client: Client) -> list[Any]:
        """Return what drained() does, in short."""
        return [short(message) for message in await self.drained(client)]

    def status(self, device: int | str, new: str, old: str = "online") -> int:
        """Publish a device's status."""
        message = {"type": "device_status_update", "device_id": device, "old_status": old, "new_status": new,
                   "timestamp": "T"}  # fmt: skip
        return self.hub.publish(message, self.now)

    def conflated(self, channel: str = "telemetry") -> int:
        return self.hub.stats()[channel]["conflated"]
