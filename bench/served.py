"""The server that the benchmarks measure from outside: limits off, no pings, a fixed secret.

    python bench/served.py [MQTT_URL [BACKPLANE_URL]]

It prints its ports, WebSocket and HTTP, a line each, once it is ready, and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
import time

import jwt
import uvloop

from valtronics_fast import Config, Server

SECRET = "bench-secret-0123456789abcdef0123456789abcdef"
UNLIMITED = [
    "connections",
    "connections_per_user",
    "connection_rate",
    "messages_per_second",
    "message_size",
    "auth_size",
    "batch_items",
    "subscriptions",
    "device_ids",
]


def config(
    port: int, *, mqtt: str = "", backplane: str = "memory://", flush_interval: float = 0, **limits: object
) -> Config:
    """Return the settings of a server on 127.0.0.1, of a broker's URL too; `limits` are kept, the others are off."""
    return Config.load(
        {
            "server": {"port": port, "ping_interval": 0, "flush_interval": flush_interval},
            "http": {"port": 0},
            "auth": {"secret": SECRET},
            "mqtt": {"url": mqtt},
            "backplane": {"url": backplane},
            "limits": {**dict.fromkeys(UNLIMITED, 0), **limits},
            "system": {"interval": 0},
            "logging": {"level": "warning"},
        },
        environ={},
    )


def token(user: str = "bench", *, publish: bool = False) -> str:
    """Return a token for everything, publishing only if it is said, good for a day."""
    claims = {"sub": user, "exp": int(time.time()) + 86400, "publish": publish}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def main(mqtt: str = "", backplane: str = "memory://") -> None:
    async with Server(config(0, mqtt=mqtt, backplane=backplane)) as server:
        while mqtt and server.health()["checks"]["mqtt"] != "ok":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        print(server.port, server.http_port, sep="\n", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
