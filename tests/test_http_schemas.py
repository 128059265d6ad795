"""That answers of the core have the shapes that the document tells (over HTTP: tests/integration/test_openapi.py)."""

from __future__ import annotations

import time

import msgspec

from harness import running
from valtronics_fast import http_schemas
from valtronics_fast._core.roster import describe


async def test_a_connection() -> None:
    async with running() as site, site.client():
        (session,) = site.server._clients.sessions()
        told = describe(session, time.monotonic())
        assert msgspec.to_builtins(msgspec.convert(told, http_schemas.Connection)) == told


async def test_the_figures() -> None:
    async with running() as site, site.client():
        told = site.server.stats()
        assert msgspec.convert(told, http_schemas.Stats)
        assert told.keys() == {field.name for field in msgspec.structs.fields(http_schemas.Stats) if field.required}
