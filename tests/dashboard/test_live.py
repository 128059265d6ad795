"""What happens on the server is on the screen, also after the connection was lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from dashboard.visitor import OPEN, report, show, visiting
from harness import Site, alert, running, status, system
from services import free_port
from valtronics_fast._core.wire import CloseCode

if TYPE_CHECKING:
    from dashboard.browser import Page

VALUE = "document.querySelector('.card .value')?.textContent"
POINTS = "(document.querySelector('.card .spark-line')?.getAttribute('d') ?? '').split(/[ML]/).length - 1"


async def shows(page: Page, value: str) -> None:
    await page.until(VALUE, lambda text: text == value)


async def test_values_change_on_the_screen() -> None:
    async with running() as site, visiting(site, "/#devices") as page:
        await page.until(OPEN)
        report(site.server, "pump", temperature=23.5)
        await shows(page, "23.5")
        assert (await page.text(".card .unit"), await page.text(".card dt")) == ("°C", "Temperature")
        for value in ("24.5", "25.5"):
            report(site.server, "pump", temperature=float(value))
            await shows(page, value)
        await page.until(POINTS, lambda points: points >= 2)
        site.server.publish(status("offline", device_id="pump", reason="unplugged"))
        await page.until("document.querySelector('.card').dataset.state", lambda state: state == "offline")


async def test_what_the_history_has_is_there_from_the_start() -> None:
    async with running() as site:
        for value in range(30):
            report(site.server, "pump", temperature=value)
            await asyncio.sleep(0.002)
        site.server.publish(alert(title="It was hot"))
        async with visiting(site, "/#devices") as page:
            await page.until(POINTS, lambda points: points >= 10)
            await show(page, "alerts")
            await page.until("document.querySelector('.alert strong')?.textContent === 'It was hot'")


async def test_alerts_as_they_come() -> None:
    async with running() as site, visiting(site, "/#alerts") as page:
        await page.until(OPEN)
        site.server.publish(alert("critical", title="Overheating", message="Above 80 °C"))
        await page.until("document.querySelector('.alert strong')?.textContent === 'Overheating'")
        assert (await page.text(".alert .mark"), await page.text(".alert p")) == ("Critical", "Above 80 °C")
        await page.until("document.querySelector('#announcer').textContent === 'critical: Overheating, device 1'")
        site.server.publish(alert("warning", title="<img src=x onerror=alert(1)>"))
        await page.until("document.querySelector('.alert strong')?.textContent.startsWith('<img')")
        titles = "[...document.querySelectorAll('.alert strong')].map(each => each.textContent).join()"
        await page.click(".chip[data-state=critical]")
        await page.until(f"{titles} === 'Overheating'")


@pytest.mark.parametrize("section", ["overview", "alerts"])
async def test_an_alert_that_comes_takes_the_focus_from_nobody(section: str) -> None:
    async with running() as site, visiting(site, f"/#{section}") as page:
        await page.until(OPEN)
        site.server.publish(alert("warning", device_id=7, title="First"))
        await page.until("document.querySelector('.alerts a') !== null")
        await page.eval("document.querySelector('.alerts a').focus()")
        site.server.publish(alert("warning", device_id=8, title="Second"))
        await page.until("document.querySelectorAll('.alerts a').length === 2")
        assert await page.eval("document.activeElement.textContent") == "Device 7"
        assert await page.eval("document.querySelector('.alerts a').textContent") == "Device 8"


async def test_the_host_and_the_server() -> None:
    async with running() as site, visiting(site, "/#system") as page:
        await page.until(OPEN)
        report(site.server)
        site.server.publish(system(cpu_usage=45.2, fan_speed=1200))
        await page.until("document.querySelector('.tile-value')?.textContent === '45.2'")
        await page.until("document.querySelector('.facts').textContent === 'Fan speed1,200'")
        await page.until("document.querySelector('tbody th')?.textContent === 'telemetry'")
        await show(page, "overview")
        async with site.client():
            await page.until("[...document.querySelectorAll('.tile-value')][1].textContent === '2'")
        await page.until("[...document.querySelectorAll('.tile-value')][1].textContent === '1'")


async def test_a_device_comes_in_real_time() -> None:
    async with running() as site, visiting(site, "/#devices/pump%201") as page:
        await page.until(OPEN)
        for value in range(10):
            report(site.server, "pump 1", temperature=value)
            await page.until(f"document.querySelector('.metric-value .value')?.textContent === '{value}'")
        await page.until("document.querySelector('.metric canvas, .metric .plain-line') !== null")
        await page.until("document.querySelector('.metric-range').textContent.startsWith('least 0 · ')")


async def test_a_lost_connection_comes_back_and_nothing_is_missed() -> None:
    async with running() as site, visiting(site, "/#alerts") as page:
        await page.until(OPEN)
        site.server.publish(alert(title="before"))
        await page.until("document.querySelector('.alert strong')?.textContent === 'before'")
        assert site.server.disconnect(CloseCode.CLOSE_SLOW_CONSUMER) == 1
        for _ in range(3):
            site.server.publish(alert(title="meanwhile"))
        titles = "[...document.querySelectorAll('.alert strong')].map(each => each.textContent)"
        await page.until(f"{titles}.filter(each => each === 'meanwhile').length === 3")
        await page.until(OPEN)
        assert await page.eval(f"{titles}.filter(each => each === 'before').length") == 1


async def test_a_server_that_was_restarted_is_found_again() -> None:
    ports = {"server": {"port": free_port()}, "http": {"port": free_port()}}
    async with contextlib.AsyncExitStack() as visit:
        async with running(**ports) as site:
            page = await visit.enter_async_context(visiting(Site(site.server), "/#devices"))
            await page.until(OPEN)
            report(site.server, 1, temperature=4)
            await shows(page, "4")
        await page.until("document.querySelector('#link').dataset.state === 'waiting'")
        assert "Next try in" in await page.text("#link")
        async with running(**ports) as site:
            await page.until(OPEN)
            assert "Device 1" in await page.text(".grid"), "what is known is still shown"
            report(site.server, 0, temperature=5)
            await shows(page, "5")
        page.complaints.clear()  # the browser's own words for connections that were refused


async def test_the_console_shows_what_was_sent_and_what_came() -> None:
    frames = "[...document.querySelectorAll('.frame')].map(each => each.textContent)"
    async with running() as site, visiting(site, "/#console") as page:
        await page.until(f"{frames}.some(each => each.includes('auth_response'))")
        assert await page.eval(f"{frames}.some(each => each.includes('\"token\":\"…\"'))")
        assert "eyJ" not in await page.text("main")
        await page.eval("document.querySelector('#devices').focus()")
        await page.type("pump")
        await page.press("Enter")
        await page.until(f"{frames}.some(each => each.includes('subscribe_response'))")
        report(site.server, "pump", temperature=77)
        report(site.server, "other", temperature=78)
        await page.until(f"{frames}.some(each => each.includes('\"value\":77'))")
        assert not await page.eval(f"{frames}.some(each => each.includes('\"value\":78'))")
        await page.click(".frames-head .button")
        report(site.server, "pump", temperature=79)
        await page.until("document.querySelector('.frame-count').textContent.includes('1 held back')")
        assert not await page.eval(f"{frames}.some(each => each.includes('\"value\":79'))")
        await page.click(".frames-head .button")
        await page.until(f"{frames}.some(each => each.includes('\"value\":79'))")
        await page.eval("document.querySelector('#command-text').value = '{nonsense'")
        await page.click(".command .primary")
        await page.until("document.querySelector('.command .fault').textContent.startsWith('This is no JSON')")
