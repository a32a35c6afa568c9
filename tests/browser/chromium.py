"""A real browser, spoken to over its DevTools protocol: what it loads, what goes wrong in it, what it shows."""

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
PATIENCE = 30.0


class Page:
    """One tab. `asked` are the addresses it requested, `wrong` what it complained of."""

    def __init__(self, channel: aiohttp.ClientWebSocketResponse) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.asked: list[str] = []
        self.received = 0
        self.wrong: list[str] = []

    async def listen(self) -> None:
        async for message in self._channel:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                self._hear(told["method"], told["params"])

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Network.loadingFinished":
                self.received += int(told["encodedDataLength"])
            case "Page.loadEventFired":
                self._loaded.set()
            case "Log.entryAdded":
                self.wrong.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.wrong.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.wrong.append(str(told["args"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._channel.send_json({"id": number, "method": method, "params": parameters})
        told = await asyncio.wait_for(answer, PATIENCE)
        assert "error" not in told, told
        return dict(told["result"])

    async def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._loaded.clear()
        await self.call("Page.navigate", url=address)
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def value(self, expression: str) -> Any:
        """Evaluate JavaScript, waiting for a promise."""
        told = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until JavaScript is true; the browser looks at every frame."""
        await self.value(
            f"new Promise((go, no) => {{ const end = Date.now() + {PATIENCE * 900}; const look = () => "
            f"({expression}) ? go(true) : Date.now() > end ? no('it never did') : setTimeout(look, 20); look() }})"
        )

    async def dress(self, *, width: int, height: int = 900, dark: bool = False, mobile: bool = False) -> None:
        """Take a size and a colour scheme."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def picture(self, path: Path) -> None:
        """Write the whole page as a picture."""
        told = await self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(told["data"]))


@asynccontextmanager
async def browsing(profile: Path, *flags: str) -> AsyncIterator[Callable[[], Any]]:
    """Run a browser, and yield how a new tab is opened."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while b"DevTools listening on" not in (line := await process.stderr.readline()):
                assert line, "the browser ended"
        host = line.decode().split("ws://")[1].split("/")[0]
        async with aiohttp.ClientSession() as session:
            tasks: list[asyncio.Task[None]] = []

            async def tab() -> Page:
                async with session.put(f"http://{host}/json/new?about:blank") as answer:
                    address = (await answer.json())["webSocketDebuggerUrl"]
                page = Page(await session.ws_connect(address, max_msg_size=0))
                tasks.append(asyncio.create_task(page.listen()))
                for domain in ("Network", "Page", "Log", "Runtime"):
                    await page.call(f"{domain}.enable")
                return page

            draining = asyncio.create_task(process.stderr.read())
            try:
                yield tab
            finally:
                for task in (*tasks, draining):
                    task.cancel()
    finally:
        process.kill()
        await process.wait()
