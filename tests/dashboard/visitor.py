"""A visitor of the dashboard of a test's own server."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from dashboard.browser import Page, browsing
from harness import telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness import Site
    from valtronics_fast import Server

OPEN = "document.querySelector('#link')?.dataset.state === 'open'"
SECTIONS = ("overview", "devices", "devices/1", "alerts", "system", "console")


@contextlib.asynccontextmanager
async def visiting(
    site: Site, path: str = "/", *, signed_in: bool = True, width: int = 1280, height: int = 900
) -> AsyncIterator[Page]:
    """Open the page in a browser of its own; at the end nothing may stand in the console.

    Args:
        site: whose page.
        path: with the section behind "#".
        signed_in: whether the tab has a token that may see everything.
        width: of the window.
        height: of the window.
    """
    async with browsing() as browser, browser.page(width=width, height=height, phone=width < 600) as page:
        if signed_in:
            token = json.dumps(site.token("visitor", monitor=True))
            script = f"if (location.href !== 'about:blank') sessionStorage.setItem('valtronics.token', {token})"
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        await page.go(site.http_url(path))
        yield page
        assert page.complaints == []


async def sign_in(page: Page, token: str) -> None:
    """Give a token, as people do."""
    await page.until("document.activeElement.id === 'token'")
    await page.type(token)
    await page.press("Enter")


async def show(page: Page, section: str) -> None:
    """Go to a section, and wait until it is there."""
    await page.eval(f"location.hash = '#{section}'")
    title = {"devices/1": "Device 1"}.get(section, section.partition("/")[0].capitalize())
    await page.until("document.querySelector('h1').textContent", lambda text: text == title)


def report(server: Server, device: object = 1, **metrics: float) -> None:
    """Publish a value with a unit for each metric."""
    given = metrics or {"temperature": 23.5}
    server.publish(telemetry(device, **{name: {"value": value, "unit": "°C"} for name, value in given.items()}))
