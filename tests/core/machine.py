"""State machines whose rules are played on a running server, through real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvloop
from hypothesis.stateful import RuleBasedStateMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.harness import Server


class ServerMachine(RuleBasedStateMachine):
    """A server in an event loop of its own, which runs only within a rule.

    Attributes:
        server: to be started by the subclass.
    """

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the loop run until some work is done."""
        self.loop.run_until_complete(work())

    def finish(self) -> None:
        """Do what is left to be done, and say what must hold, when the rules are through."""

    def teardown(self) -> None:
        async def stop() -> None:
            async with asyncio.timeout(30):
                await self.server.__aexit__(None, None, None)

        try:
            self.finish()
        finally:
            try:
                self.run(stop)
            finally:
                self.loop.close()
