"""Chromium without a window, driven over its DevTools protocol: as much of it as the tests and the pictures need."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

TIMEOUT = float(os.environ.get("VFAST_TEST_TIMEOUT", "40"))
"""Seconds after which a test fails that waits for something on the page."""

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--force-color-profile=srgb", "--hide-scrollbars",
    "--remote-debugging-port=0",
)  # fmt: skip

KEYS = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "ArrowDown": (40, ""), "ArrowRight": (39, ""),
    "ArrowUp": (38, ""), "ArrowLeft": (37, ""), "End": (35, ""), "Home": (36, ""), " ": (32, " "),
}  # fmt: skip


class Browser:
    """A running Chromium.

    Args:
        connection: to the browser's own target.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._last = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"], None)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            elif page := self._pages.get(message.get("sessionId", "")):
                page.take(message["method"], message["params"])

    async def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        command = {"id": self._last, "method": method, "params": parameters}
        await self._connection.send(json.dumps(command | ({"sessionId": session} if session else {})))
        message = await asyncio.wait_for(answer, TIMEOUT)
        assert "error" not in message, (method, message["error"])
        result: dict[str, Any] = message["result"]
        return result

    async def close(self) -> None:
        """End what reads."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    @contextlib.asynccontextmanager
    async def page(self, *, width: int = 1280, height: int = 900, phone: bool = False) -> AsyncIterator[Page]:
        """Open a page that shares nothing with others."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height, phone=phone)
        try:
            yield page
        finally:
            await self.call("Target.disposeBrowserContext", browserContextId=context)
            del self._pages[attached["sessionId"]]


class Page:
    """A page.

    Attributes:
        complaints: what stands in its console, and what its content security policy has kept from it.
        requests: the addresses that it asked for, WebSockets too.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def take(self, method: str, event: dict[str, Any]) -> None:
        """Note an event."""
        if method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"{event['type']}: {[each.get('value') for each in event['args']]}")
        elif method == "Log.entryAdded":
            self.complaints.append(f"{event['entry']['level']}: {event['entry']['text']}")
        elif method == "Audits.issueAdded" and event["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.complaints.append(f"policy: {event['issue']['details']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(event["url"])

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol on this page."""
        return await self._browser.call(method, self._session, **parameters)

    async def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give it a window."""
        scale = 2 if phone else 1
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    async def prefer(self, **features: str) -> None:
        """Set what the user prefers: `prefers_color_scheme="dark"`."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=listed)

    async def go(self, url: str) -> None:
        """Go somewhere."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def eval(self, script: str) -> Any:
        """Return the value of an expression, or of what it promises."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, script: str, check: Callable[[Any], object] = bool) -> Any:
        """Wait until an expression has a value that passes; return it."""
        value: Any = None
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    with contextlib.suppress(AssertionError):  # a page that is just being left
                        value = await self.eval(script)
                        if check(value):
                            return value
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = await self.eval("document.body.innerText")
            raise AssertionError(f"{script}: still {value!r}; {self.complaints}; the page: {text[:2000]}") from None

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code, text = KEYS.get(key, (ord(key.upper()[0]), key))
            known = {"key": key, "windowsVirtualKeyCode": code}
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    async def type(self, text: str) -> None:
        """Type, or paste, a text into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click on the middle of an element, as a mouse would."""
        place = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{place} !== null")
        spot = f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place}.getBoundingClientRect())"
        x, y = await self.eval(f"{place}.scrollIntoView({{block: 'center'}}), {spot}")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def text(self, selector: str) -> str:
        """Return the text of an element, "" where there is none."""
        return str(await self.eval(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    async def picture(self, path: Path) -> None:
        """Take a picture of the window, in the format that the file's name ends with: png or webp."""
        quality = {} if path.suffix == ".png" else {"quality": 85}
        answer = await self.call("Page.captureScreenshot", format=path.suffix[1:], **quality)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser with a profile of its own."""
    assert PROGRAM is not None, "chromium is missing: tests/install-packages.sh"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        drain: asyncio.Task[bytes] | None = None
        try:
            async with asyncio.timeout(TIMEOUT):
                while b"DevTools listening on " not in (line := await process.stderr.readline()):
                    assert line, "the browser ended"
            drain = asyncio.create_task(process.stderr.read())
            url = line.split()[-1].decode()
            async with connect(url, max_size=None, proxy=None, ping_interval=None) as connection:
                browser = Browser(connection)
                try:
                    yield browser
                finally:
                    await browser.close()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            if drain is not None:
                await drain
