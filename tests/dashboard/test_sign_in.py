"""Nothing is shown without a token; with one, what it permits, and for as long as it is good."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import jwt

from dashboard.visitor import OPEN, report, show, sign_in, visiting
from harness import SECRET, http, running, system

if TYPE_CHECKING:
    from dashboard.browser import Page

FAULT = "document.querySelector('#token-fault')?.hidden === false && document.querySelector('#token-fault').textContent"
SIGNED_OUT = "document.activeElement.id === 'token'"


def signed(secret: str = SECRET, **claims: object) -> str:
    return jwt.encode(claims, secret, algorithm="HS256")


async def test_without_a_token_nothing_can_be_read() -> None:
    async with running() as site:
        report(site.server, "secret-pump", temperature=42)
        for path, refusal in (("/api/v1/stats", 401), ("/metrics", 401), ("/api/v1/explain?connection=1", 403)):
            assert (await http("GET", site.http_url(path)))[0] == refusal
        async with visiting(site, signed_in=False) as page:
            await page.until(SIGNED_OUT)
            assert "secret-pump" not in await page.text("body")
            assert not [url for url in page.requests if not url.startswith(site.http_url("/dashboard/"))][1:]
            assert await page.eval("document.querySelector('#rail').hidden")
            await page.press("1", "2", "?")
            assert "secret-pump" not in await page.text("body")
        assert site.server.stats()["total_connections"] == 0


async def test_a_refused_token_is_explained() -> None:
    async with running() as site, visiting(site, signed_in=False) as page:
        now = time.time()
        bad = {
            "hello": "three parts",
            "a.!!.c": "can't be read",
            signed(sub="a", exp=now - 3600): "expired on",
            signed(sub="a"): "no end",
            signed(exp=now + 60): "names no user",
            signed(SECRET[::-1], sub="a", exp=now + 60): "another key",
        }
        for token, why in bad.items():
            await sign_in(page, token)
            await page.until(f"({FAULT}) && {FAULT}.includes({json.dumps(why)})")
            assert await page.eval("document.querySelector('#token').getAttribute('aria-invalid')") == "true"
            assert await page.eval("document.querySelector('#rail').hidden")
        await sign_in(page, site.token(monitor=True))
        await page.until(OPEN)


async def test_a_good_token_stays_in_its_tab() -> None:
    async with running() as site:
        token = site.token("alice", monitor=True)
        async with visiting(site, signed_in=False) as page:
            await page.until(SIGNED_OUT)
            await page.type(token)
            await page.press("Tab", " ", "Tab", "Enter")  # keep it, and sign in
            await page.until(OPEN)
            assert await page.text("#who") == "alice"
            report(site.server, 1, temperature=21)
            await page.until("document.querySelector('.tile-value').textContent === '1'")
            await page.call("Page.reload")
            await page.until(OPEN)
            assert await page.text("#who") == "alice"
            assert await page.eval("JSON.stringify(Object.keys(localStorage))") == "[]"
            assert not any(token in url for url in page.requests)
            assert token not in await page.eval("location.href")
            await page.click("#leave")
            await page.until(SIGNED_OUT)
            assert await page.eval("sessionStorage.length") == 0
            await page.call("Page.reload")
            await page.until(SIGNED_OUT)


async def test_it_is_kept_only_where_that_is_wanted() -> None:
    async with running() as site, visiting(site, signed_in=False) as page:
        await sign_in(page, site.token(monitor=True))
        await page.until(OPEN)
        assert await page.eval("sessionStorage.length + localStorage.length") == 0
        await page.call("Page.reload")
        await page.until(SIGNED_OUT)


async def test_the_figures_of_the_server_have_a_claim_of_their_own() -> None:
    async with running() as site, visiting(site, signed_in=False) as page:
        await sign_in(page, site.token("alice", channels=["telemetry", "system"]))
        await page.until("document.querySelector('.notice')?.textContent.includes('“monitor”')")
        assert [url for url in page.requests if url.endswith("/stats")] == [site.http_url("/api/v1/stats")]
        site.server.publish(system(cpu_usage=45.2))
        await show(page, "system")
        await page.until("document.querySelector('.tile-value')?.textContent === '45.2'")
        await show(page, "alerts")
        await page.until("document.querySelector('.empty').textContent === 'This token does not permit alerts.'")
        page.complaints.clear()  # the browser's own words for HTTP 403


async def test_a_token_that_expires_can_be_renewed() -> None:
    settings = {"renewal_notice": 3600, "grace": 0, "leeway": 0}
    async with running(auth=settings) as site, visiting(site, signed_in=False) as page:
        await sign_in(page, site.token("alice", expires=8, monitor=True))
        await page.until("document.querySelector('#dialog').open && document.activeElement.id === 'new-token'")
        await page.type(site.token("bob", monitor=True))
        await page.click("#dialog .primary")
        await page.until(SIGNED_OUT)  # somebody else's: the server ends the session
        await sign_in(page, site.token("alice", expires=8, monitor=True))
        await page.until("document.querySelector('#dialog').open && document.activeElement.id === 'new-token'")
        await page.type(site.token("alice", expires=20, monitor=True))
        await page.click("#dialog .primary")
        await page.until("!document.querySelector('#dialog').open || document.querySelector('#new-token').value === ''")
        connections = site.server.stats()["total_connections"]
        assert connections == 2


async def test_one_that_has_expired_ends_the_session() -> None:
    settings = {"renewal_notice": 0, "grace": 0, "leeway": 0}
    async with running(auth=settings) as site, visiting(site, signed_in=False) as page:
        await sign_in(page, site.token("alice", expires=3, monitor=True))
        await page.until(OPEN)
        report(site.server, "secret-pump", temperature=42)
        await page.until("document.querySelector('.tile-value').textContent === '1'")
        await page.until(f"({FAULT}) && {FAULT}.startsWith('The token has expired.')")
        await show_nothing(page)
        # The figures may have been asked for in the moment before: the browser has its own words for HTTP 401.
        page.complaints = [each for each in page.complaints if "401" not in each]


async def show_nothing(page: Page) -> None:
    """Whatever is asked for, nothing of the session is left."""
    assert await page.eval("location.hash = '#devices', document.querySelector('#rail').hidden")
    assert "secret-pump" not in await page.text("body")


async def test_a_demo_renews_by_itself() -> None:
    async with running(demo=True, auth={"renewal_notice": 3600}) as site, visiting(site, signed_in=False) as page:
        await page.until(OPEN)
        asked = "performance.getEntriesByType('resource').filter(each => each.name.endsWith('demo-token')).length"
        await page.until(f"{asked} > 1")
        assert not await page.eval("document.querySelector('#dialog').open")
        assert await page.text("#who") == "Demo"
