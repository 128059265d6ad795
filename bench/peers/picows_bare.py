"""picows alone, as the yardstick of the handshake: accepts every client, and does nothing with it.

python bench/peers/picows_bare.py      prints its port, and serves until it is ended
"""

from __future__ import annotations

import picows
import uvloop


async def main() -> None:
    server = await picows.ws_create_server(lambda _: picows.WSListener(), "127.0.0.1", 0, enable_auto_ping=False)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
