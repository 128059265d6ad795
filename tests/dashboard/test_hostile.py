"""Whatever devices, metrics and alerts are called: it is text, wherever the page shows it."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from dashboard.visitor import OPEN, sign_in, visiting
from harness import alert, running, status, telemetry

MARKUP = "<img src=x onerror=owned=1>"
NAMES = [
    f"{MARKUP}",
    '"><svg onload=owned=1>',
    "javascript:owned=1",
    "__proto__",
    "constructor",
    "a/b#c?d%e",
    "\u202egnp.exe",
    "x" * 60,
]
UNTOUCHED = "typeof owned === 'undefined' && Object.prototype.value === undefined && !({}).owned"
INJECTED = "document.querySelectorAll('main img, main script, main [onerror], main [onload], main svg[onload]').length"
LINKS = "[...document.querySelectorAll('a')].every(link => link.protocol.startsWith('http'))"


async def test_names_and_texts_of_strangers_stay_text() -> None:
    async with running() as site, visiting(site) as page:
        await page.until(OPEN)
        for name in NAMES:
            measured = {metric: {"value": 1, "unit": MARKUP[:16]} for metric in (*NAMES[:2], *NAMES[3:5])}
            site.server.publish(telemetry(name, **measured))
            site.server.publish(alert("critical", device_id=name, title=MARKUP, message=MARKUP, alert_type=MARKUP))
            site.server.publish(status(device_id=name, reason=MARKUP))
        own = [f"devices/{quote(name, safe='')}" for name in NAMES]
        for section in ("overview", "devices", "alerts", "system", "console", *own):
            await page.eval(f"location.hash = {('#' + section)!r}")
            heading = "document.querySelector('h1').textContent"
            if section in own:
                name = NAMES[own.index(section)]
                await page.until(heading, lambda text, name=name: text == f"Device {name}")
                await page.until("document.querySelectorAll('.metric').length === 4")
                assert MARKUP in await page.text(".headline")
                assert MARKUP in await page.text(".device .alerts")
            else:
                await page.until(heading, lambda text, section=section: text == section.capitalize())
            if section in {"overview", "alerts", "devices"}:
                await page.until(f"document.querySelector('main').textContent.includes({MARKUP!r})")
            assert await page.eval(INJECTED) == 0
            assert await page.eval(LINKS)
            assert await page.eval(UNTOUCHED)


async def test_a_screen_reader_is_told_text() -> None:
    async with running() as site, visiting(site) as page:
        await page.until(OPEN)
        site.server.publish(alert("critical", device_id=MARKUP, title=MARKUP))
        await page.until(f"document.querySelector('#announcer').textContent.includes({MARKUP!r})")
        assert await page.eval("document.querySelectorAll('#announcer img').length") == 0


async def test_the_user_of_a_token_and_what_the_console_shows() -> None:
    async with running() as site, visiting(site, "/#console", signed_in=False) as page:
        await sign_in(page, site.token(MARKUP, monitor=True))
        await page.until(OPEN)
        assert await page.text("#who") == MARKUP
        frames = "[...document.querySelectorAll('.frame')].map(each => each.textContent)"
        await page.until(f"{frames}.some(each => each.includes('auth_response') && each.includes('onerror'))")
        await page.eval("document.querySelector('#devices').focus()")
        await page.type(MARKUP.replace(" ", "/"))
        await page.press("Enter")
        await page.until(f"{frames}.some(each => each.includes('subscribe_response'))")
        assert await page.eval("document.querySelectorAll('.frames img').length") == 0
        assert await page.eval(UNTOUCHED)


@pytest.mark.parametrize("address", ["#devices/%", "#devices/%3Cimg%20src=x%20onerror=owned=1%3E", "#//", "#__proto__"])
async def test_an_address_is_no_markup(address: str) -> None:
    async with running() as site, visiting(site, f"/{address}") as page:
        await page.until(f"{OPEN} && document.querySelector('h1')?.textContent.length > 0")
        assert await page.eval(INJECTED) == 0
        assert await page.eval(UNTOUCHED)
