"""A real Prometheus (Debian package `prometheus`) that runs by deploy/prometheus, and scrapes a server of a test."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from deployed import DEPLOY, started
from harness import TIMEOUT
from services import START_TIMEOUT, free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Prometheus:
    """A Prometheus.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return `data` of an answer of its API."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{self.url}/api/v1/{path}", params=parameters) as answer,
        ):
            found = await answer.json()
            assert found["status"] == "success", (parameters, found)
            return found["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression is now."""
        found = (await self.ask("query", query=expression))["result"]
        assert isinstance(found, list)
        return found

    async def until(self, expression: str) -> None:
        """Wait until an expression has a result."""
        async with asyncio.timeout(TIMEOUT):
            while not await self.query(expression):
                await asyncio.sleep(0.1)


@contextmanager
def scraping(port: int, directory: Path, token: Path | None = None) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a port every second, else as it is configured, with the token of a file or none."""
    place = shutil.copytree(DEPLOY / "prometheus", directory / "prometheus")
    settings = yaml.safe_load((place / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = settings["scrape_configs"]
    del job["dns_sd_configs"]  # a name of the network of containers
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    if token is None:
        del job["authorization"]
    else:
        job["authorization"]["credentials_file"] = str(token)
    (place / "prometheus.yml").write_text(yaml.safe_dump(settings))
    own, log = free_port(), directory / "prometheus.log"
    command = [program("prometheus", "prometheus"), f"--config.file={place / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{own}"]
    with started(command, own, log):
        deadline = time.monotonic() + START_TIMEOUT
        while b"Server is ready" not in log.read_bytes():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Prometheus(f"http://127.0.0.1:{own}")
