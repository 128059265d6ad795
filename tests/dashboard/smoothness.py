"""Measures how smooth the page is with many devices: `PYTHONPATH=tests python -m dashboard.smoothness 1000 10`.

That is a thousand devices, each of which sends ten messages of six metrics a second. Told are the times between frames
while the list is looked at and while it is scrolled, tasks of the page over 50 ms, and its memory.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from dashboard.browser import browsing
from dashboard.visitor import OPEN
from harness import running
from valtronics_fast.producers.simulated import SimulatedFleet

if TYPE_CHECKING:
    from harness import Site

SECONDS = 20

_MEASURE = """new Promise(done => {
    const [gaps, tasks] = [[], []];
    const observer = new PerformanceObserver(list => tasks.push(...list.getEntries().map(each => each.duration)));
    observer.observe({ entryTypes: ['longtask'] });
    const start = performance.now();
    let last = start;
    requestAnimationFrame(function frame(now) {
        gaps.push(now - last);
        last = now;
        if (SCROLL) scrollBy(0, 23);
        if (now - start < SECONDS * 1000) return requestAnimationFrame(frame);
        observer.disconnect();
        gaps.shift();
        gaps.sort((a, b) => a - b);
        const part = share => Math.round(gaps[Math.floor(gaps.length * share)]);
        done(`${gaps.length} frames, median ${part(0.5)} ms, 99 % under ${part(0.99)} ms; ` +
            `${tasks.length} tasks over 50 ms, longest ${Math.round(Math.max(0, ...tasks))} ms`);
    });
})"""


def _published(site: Site) -> int:
    """Return how many messages of telemetry were published."""
    return site.server._hub.stats()["telemetry"]["publications"]


async def _measure(devices: int, rate: float) -> None:
    async with running(demo=True) as site, browsing() as browser, browser.page(width=1440, height=900) as page:
        fleet = SimulatedFleet(devices, interval=1 / rate)
        await fleet.start(site.server.publish)
        await page.go(site.http_url("/#devices"))
        await page.until(OPEN)
        await page.until(f"document.querySelector('.headline').textContent.startsWith('{devices:,}')")
        await asyncio.sleep(5)
        before, start = _published(site), time.monotonic()
        for name, scroll in (("looked at", "false"), ("scrolled", "true")):
            script = _MEASURE.replace("SECONDS", str(SECONDS)).replace("SCROLL", scroll)
            print(f"{devices} devices, {name}: {await page.eval(script)}")
        published = (_published(site) - before) / (time.monotonic() - start)
        heap = await page.eval("performance.memory.usedJSHeapSize")
        print(f"{published:,.0f} messages a second were published; heap of the page: {heap / 2**20:.0f} MiB")
        await fleet.stop()


if __name__ == "__main__":
    uvloop.run(_measure(int(sys.argv[1]), float(sys.argv[2])))
