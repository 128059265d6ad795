"""The page itself: what it asks for, how it looks, and that it can be used with keys and on a phone."""

from __future__ import annotations

import asyncio

import pytest

from dashboard.visitor import OPEN, SECTIONS, report, show, visiting
from harness import alert, running
from valtronics_fast import http_dashboard
from valtronics_fast.http_dashboard import load_files

GROUND = "getComputedStyle(document.documentElement).backgroundColor"
FOCUSED = "document.activeElement.textContent"
CARDS = "document.querySelectorAll('.card').length"
HEADING = "document.querySelector('h1')?.textContent"


async def test_no_outside_host_and_no_word_in_the_console() -> None:
    async with running(demo=True) as site, visiting(site, signed_in=False) as page:
        await page.until(OPEN)
        for section in SECTIONS:
            await show(page, section)
        own = (site.http_url("/"), site.url("/ws"))
        assert any(url.startswith(own[1]) for url in page.requests)
        assert not [url for url in page.requests if not url.startswith(own)]


async def test_the_policy_is_in_force() -> None:
    """What would come in from elsewhere, or in line, does not: else the other tests would prove nothing."""
    async with running() as site, visiting(site) as page:
        await page.until(OPEN)
        await page.eval("document.body.setAttribute('style', 'color: rgb(1, 2, 3)')")
        assert await page.eval("getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
        assert await page.eval("fetch('http://127.0.0.1:9/').catch(error => error.name)") == "TypeError"
        write = "(() => { try { document.body.innerHTML = 'x' } catch (error) { return error.name } })()"
        assert await page.eval(write) == "TypeError"
        assert sum("policy" in complaint.lower() for complaint in page.complaints) >= 3
        page.complaints.clear()


async def test_with_the_keyboard_alone() -> None:
    async with running(demo=True) as site, visiting(site, signed_in=False) as page:
        await page.until(f"{OPEN} && {HEADING} === 'Overview'")
        await page.eval("document.activeElement.blur()")
        await page.press("Tab")
        assert await page.eval(FOCUSED) == "Skip to the content"
        await page.press("Enter")
        assert await page.eval("document.activeElement.id") == "main"
        await page.press("2")
        await page.until(f"{CARDS} > 3")
        await page.press("/")
        await page.until("document.activeElement.id === 'filter'")
        await page.type("nothing-like-that")
        await page.until("document.querySelector('.empty').hidden === false")
        await page.eval("document.activeElement.select()")
        await page.type("online")
        await page.until(f"{CARDS} > 3")
        await page.press("Escape")
        for _ in range(12):
            await page.press("Tab")
            if await page.eval("document.activeElement.className") == "card-link":
                break
        first = await page.eval(FOCUSED)
        assert first.startswith("Device ")
        assert await page.eval("getComputedStyle(document.activeElement.closest('.card')).outlineStyle") == "solid"
        await page.press("ArrowRight")
        assert await page.eval(FOCUSED) != first
        await page.press("End")
        await page.until(f"{FOCUSED}.startsWith('Device ') && {FOCUSED} !== {first!r}")
        last = await page.eval(FOCUSED)
        await page.press("Enter")
        await page.until(f"{HEADING} === {last!r}")
        await page.press("Escape")
        await page.until(f"{HEADING} === 'Devices'")
        await page.press("?")
        await page.until("document.querySelector('#dialog').open")
        assert "octagon" in await page.text("#dialog")
        await page.press("Escape")
        await page.until("!document.querySelector('#dialog').open")
        for key, title in (("3", "Alerts"), ("4", "System"), ("5", "Console"), ("1", "Overview")):
            await page.press(key)
            await page.until(f"{HEADING} === '{title}'")


async def test_light_and_dark() -> None:
    async with running() as site, visiting(site) as page:
        await page.until(OPEN)
        await page.prefer(prefers_color_scheme="light")
        light = await page.eval(GROUND)
        await page.prefer(prefers_color_scheme="dark")
        dark = await page.eval(GROUND)
        assert light != dark
        for expected in (light, dark):
            await page.press("t")
            assert await page.eval(GROUND) == expected
        await page.prefer(prefers_color_scheme="light")
        assert await page.eval(GROUND) == dark
        await page.call("Page.reload")
        await page.until(OPEN)
        assert await page.eval(GROUND) == dark


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_words_stand_out_from_their_ground(theme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, for the colours of text on each of the grounds."""
    contrast = """(() => {
        const probe = document.body.appendChild(document.createElement('span'));
        const light = name => {
            probe.style.color = `var(--${name})`;
            const parts = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(part => part / 255);
            const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const names = ['ink', 'muted', 'accent', 'ok', 'warning', 'critical', 'offline', 'maintenance'];
        const pairs = [['critical', 'critical-wash'], ['muted', 'critical-wash'], ['accent-ink', 'accent']];
        for (const name of names) for (const ground of ['ground', 'surface', 'raised']) pairs.push([name, ground]);
        return pairs.map(([name, ground]) => {
            const [high, low] = [light(name), light(ground)].sort((a, b) => b - a);
            return [name, ground, (high + 0.05) / (low + 0.05)];
        });
    })()"""
    async with running() as site, visiting(site) as page:
        await page.prefer(prefers_color_scheme=theme)
        found = await page.eval(contrast)
        assert len(found) == 27
        assert [pair for pair in found if pair[2] < 4.5] == []


async def test_who_wants_no_motion_gets_none() -> None:
    moving = "document.getAnimations().length"
    async with running(demo=True) as site, visiting(site, "/#devices/1", signed_in=False) as page:
        await page.until(f"{moving} > 0")
        await page.prefer(prefers_reduced_motion="reduce")
        await page.until(f"{moving} === 0")
        before = await page.text(".metrics")
        await page.until("document.querySelector('.metrics').textContent", lambda text: text != before)
        assert await page.eval(moving) == 0


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_nothing_is_wider_than_the_window(width: int) -> None:
    long = "x" * 64
    async with running() as site, visiting(site, width=width, height=800) as page:
        await page.until(OPEN)
        report(site.server, 1, temperature=20)
        report(site.server, long, **{f"metric_{number}_{'y' * 50}": 123456.789 for number in range(8)})
        site.server.publish(alert(title="z" * 200, message="z" * 500, device_id=long))
        for section in (*SECTIONS, f"devices/{long}"):
            await page.eval(f"location.hash = '#{section}'")
            await page.until(f"{HEADING} !== undefined")
            await page.eval("new Promise(done => setTimeout(done, 300))")
            wide = f"""[...document.querySelectorAll('main *')].filter(each => each.offsetParent)
                .filter(each => each.getBoundingClientRect().right > {width} + 0.5 && !each.closest('.scroll, .frames'))
                .map(each => each.className || each.tagName)"""
            assert await page.eval(wide) == [], section
            assert await page.eval("document.documentElement.scrollWidth") <= width, section
            small = """[...document.querySelectorAll('main button, main select, nav a, header button')]
                .filter(each => each.offsetParent && each.getBoundingClientRect().height < 32).length"""
            assert await page.eval(small) == 0, section


async def test_a_thousand_devices_cost_no_more_than_those_that_are_seen() -> None:
    async with running() as site, visiting(site, "/#devices") as page:
        await page.until(OPEN)
        for number in range(1000):
            report(site.server, 1000 + number, temperature=number % 40, humidity=50, pressure=1000, vibration=1)
        await page.until("document.querySelector('.headline').textContent", lambda text: text == "1,000 devices")
        assert await page.eval(CARDS) < 40
        order = "[...document.querySelectorAll('.card')].map(each => Number(each.ariaPosInSet))"
        assert await page.eval(order) == sorted(await page.eval(order))
        await page.eval("scrollTo(0, document.documentElement.scrollHeight)")
        names = "[...document.querySelectorAll('.card-link')].map(each => each.textContent)"
        await page.until(f"{names}.includes('Device 1999')")
        assert await page.eval(CARDS) < 40
        report(site.server, 1999, temperature=99)
        await page.until("[...document.querySelectorAll('.card .value')].some(each => each.textContent === '99')")


async def test_it_answers_while_ten_thousand_updates_a_second_come() -> None:
    """As far as this machine gets there; what counts is that the page shows the newest, and does what keys say."""
    async with running() as site, visiting(site, "/#devices") as page:
        await page.until(OPEN)
        rounds = 0

        async def send() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                for number in range(1000):
                    report(site.server, number, temperature=rounds)
                await asyncio.sleep(0.1)

        sending = asyncio.create_task(send())
        try:
            await page.until("document.querySelector('.headline').textContent", lambda text: text == "1,000 devices")
            for key, heading in (("4", "System"), ("2", "Devices"), ("1", "Overview"), ("2", "Devices")):
                await page.press(key)
                await page.until(HEADING, lambda text, heading=heading: text == heading)
            known = rounds
            shown = "Number(document.querySelector('.card .value').textContent)"
            await page.until(f"{shown} >= {known}")
            assert await page.eval(CARDS) < 40
        finally:
            sending.cancel()
            await asyncio.wait([sending])


@pytest.mark.parametrize("built_in", [True, False])
async def test_charts_with_and_without_uplot(monkeypatch: pytest.MonkeyPatch, built_in: bool) -> None:
    files = load_files()
    if built_in and "vendor/uPlot.esm.js" not in files:
        pytest.skip("the build had no npm")
    if not built_in:
        own = {name: file for name, file in files.items() if not name.startswith("vendor/")}
        monkeypatch.setattr(http_dashboard, "load_files", lambda: own)
    async with running() as site, visiting(site, "/#devices/1") as page:
        await page.until(OPEN)
        for value in range(3):
            report(site.server, 1, temperature=value)
            await page.until(f"document.querySelector('.metric-value .value')?.textContent === '{value}'")
        assert await page.eval("document.querySelector('.metric canvas') !== null") == built_in
        if not built_in:
            await page.until("document.querySelector('.plain-line')?.getAttribute('d').split('L').length > 1")
            assert "install npm" in await page.text(".device .notice")
        assert any("vendor" in url for url in page.requests) == built_in
