"""Takes the pictures of the dashboard in docs/images (`make screenshots`), of a demo and of the tutorial's device.

Both have run for a minute.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from dashboard.browser import browsing
from dashboard.visitor import OPEN, sign_in, visiting
from harness import Site, running

if TYPE_CHECKING:
    from dashboard.browser import Page

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WATCHED = 62.0
"""Seconds that the pages look on before they are taken."""

# Name, section, size of the window, whether it is a phone's, theme.
PICTURES = (
    ("dashboard-light", "overview", (1440, 940), False, "light"),
    ("dashboard-dark", "devices", (1440, 940), False, "dark"),
    ("dashboard-device", "devices/3", (1440, 940), False, "light"),
    ("dashboard-console", "console", (1440, 940), False, "light"),
    ("dashboard-phone", "devices", (360, 740), True, "light"),
)


async def _crowd(site: Site) -> None:
    """Let clients come and go, some for a device, some for all of them."""
    chance = random.Random(7)
    async with AsyncExitStack() as here:
        for number in range(1, 13):
            client = await here.enter_async_context(site.client(user=f"client {number}"))
            await client.send(type="subscribe", channel="telemetry", device_id=chance.sample(range(1, 51), 8))
            await asyncio.sleep(chance.uniform(2, 9))
        await asyncio.sleep(WATCHED)


async def _take() -> None:
    async with running(demo=True, system={"interval": 2}) as site, browsing() as browser, AsyncExitStack() as opened:
        crowd = asyncio.create_task(_crowd(site))
        await asyncio.sleep(5)
        pages = {}
        for name, section, (width, height), phone, theme in PICTURES:
            page = await opened.enter_async_context(browser.page(width=width, height=height, phone=phone))
            await page.prefer(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
            await page.go(site.http_url(f"/#{section}"))
            await page.until(OPEN)
            if section == "console":
                await page.until("document.querySelectorAll('.frame').length > 1")
                await page.eval("document.querySelector('#devices').focus()")
                await page.type("3 10")
                await page.press("Enter")
            pages[name] = page
        await asyncio.sleep(WATCHED)
        for name, page in pages.items():
            await _picture(page, name)
        crowd.cancel()
        await asyncio.wait([crowd])


async def _device(site: Site) -> None:
    """Do what the device of docs/tutorial.md does."""
    number = 0
    while True:
        number += 1
        temperature = {"value": 20.5 + number % 10, "unit": "°C"}
        site.server.publish({"type": "telemetry_update", "device_id": 7, "telemetry": {"temperature": temperature}})
        if number % 5 == 0:
            alert = {"type": "alert", "device_id": 7, "severity": "warning", "alert_type": "high_temperature"}
            site.server.publish({**alert, "title": "High Temperature", "message": "Getting warm"})
        await asyncio.sleep(1)


async def _take_tutorial() -> None:
    async with running() as site, visiting(site, "/#devices/7", signed_in=False, width=1280, height=720) as page:
        device = asyncio.create_task(_device(site))
        await sign_in(page, site.token("alice", monitor=True))
        await page.until(OPEN)
        await asyncio.sleep(WATCHED)
        await _picture(page, "tutorial-device")
        device.cancel()
        await asyncio.wait([device])


async def _picture(page: Page, name: str) -> None:
    path = IMAGES / f"{name}.webp"
    await page.picture(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


async def _take_all() -> None:
    await _take()
    await _take_tutorial()


if __name__ == "__main__":
    uvloop.run(_take_all())
