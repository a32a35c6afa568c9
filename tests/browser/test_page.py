"""The page of a real daemon in a real browser."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import vl_convert

from tests.browser.chromium import CHROMIUM, Page, browsing
from tests.scenarios.processes import Home
from trader.research.report.page import _EXPORTS, _VEGA_LITE
from trader.status.readable import amount

# one browser for all, because starting it is most of what a page costs
in_one_browser = pytest.mark.asyncio(loop_scope="module")
DRAWN = "document.querySelectorAll('[data-drawn]').length === 3"
MOST_BYTES = 400_000
LOOKS = {
    "light": {"width": 1200},
    "dark": {"width": 1200, "dark": True},
    "phone": {"width": 390, "height": 844, "mobile": True},
    "phone-dark": {"width": 390, "height": 844, "mobile": True, "dark": True},
}


class Daemon:
    """A daemon that shows a page."""

    def __init__(self, home: Home, *words: str, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        own = {"TRADER_STATUS__PORT": str(self.port), "TRADER_LOG__LEVEL": "INFO"}
        self.process = home.start("run", *words, **own, **settings)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if '"event": "ready"' in line:
                return
        raise AssertionError("the daemon ended before it was ready")

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=20) as answer:
            return str(answer.read().decode())

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("page") / "data")
    home.data.mkdir()
    return home


@pytest.fixture(scope="module")
def played(home: Home) -> subprocess.CompletedProcess[str]:
    """Twelve closes by a daemon whose port another process has taken."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        return home.run("run", "--cycles", "12", "--speed", "max", "--json", TRADER_STATUS__PORT=port)


@pytest.fixture(scope="module")
def daemon(home: Home, played: subprocess.CompletedProcess[str]) -> Iterator[Daemon]:
    assert played.returncode == 0, played.stderr
    # time stands nearly still, so that what is compared does not move
    running = Daemon(home, "--speed", "1")
    yield running
    running.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[[], Any]]:
    """How a new tab of the browser is opened."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    async with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


async def text_of(page: Page) -> str:
    return str(await page.value("document.body.innerText"))


@in_one_browser
async def test_it_draws_in_every_dress_and_asks_nobody_but_the_daemon(daemon: Daemon, tab: Callable[[], Any]) -> None:
    pictures = os.environ.get("PAGE_PICTURES")
    for name, dress in LOOKS.items():
        page: Page = await tab()
        await page.dress(**dress)  # type: ignore[arg-type]
        await page.open(daemon.address)
        await page.until(DRAWN)
        assert (
            await page.value("[...document.querySelectorAll('[data-drawn]')].map((one) => one.dataset.drawn)")
            == ["12"] * 3
        )
        assert {address.split("/")[2] for address in page.asked} == {f"127.0.0.1:{daemon.port}"}
        assert page.wrong == []
        assert page.received < MOST_BYTES
        assert await page.value("document.documentElement.scrollWidth <= window.innerWidth"), name
        assert await page.value("document.cookie + JSON.stringify([localStorage.length, sessionStorage.length])") == (
            "[0,0]"
        )
        paper = await page.value("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 23, 26)" if dress.get("dark") else "rgb(251, 251, 250)")
        if pictures:
            await page.picture(Path(pictures) / f"status-{name}.png")


@in_one_browser
async def test_it_says_what_the_command_line_says(home: Home, daemon: Daemon, tab: Callable[[], Any]) -> None:
    told = home.document("status")
    shown: dict[str, Any] = json.loads(daemon.ask("/status.json"))
    assert {name: shown[name] for name in told} == told
    page: Page = await tab()
    await page.dress(width=1200)
    await page.open(daemon.address)
    text = await text_of(page)
    # at wall rate the next close of a tape is hours away, whatever year the tape is of
    assert re.fullmatch(r"in \d+ h \d+ min", await page.value("document.querySelector('[data-until]').textContent"))
    (symbol, held), *_ = told["position"].items()
    for words in (
        f"{int(held):,} {symbol}".replace("-", "−"), told["state"], told["strategy"], "NO-GO", "Next close",
        amount(shown["money"]["fees"]), shown["decisions"][0]["why"],
    ):  # fmt: skip
        assert words in text, words


@in_one_browser
async def test_it_takes_over_what_changed_without_being_loaded_again(
    home: Home, daemon: Daemon, tab: Callable[[], Any]
) -> None:
    page: Page = await tab()
    await page.dress(width=1200)
    await page.open(daemon.address)
    await page.until(DRAWN)
    assert "HALTED" not in await text_of(page)
    assert home.run("halt").returncode == 0
    await page.until("document.querySelector('.state').textContent === 'HALTED'")
    assert "halt requested" in await text_of(page)
    assert page.wrong == []
    assert home.run("resume", "--yes").returncode == 0
    await page.until("document.querySelector('.state').textContent === 'ACTIVE'")


@in_one_browser
async def test_a_daemon_that_answers_no_more_is_not_shown_as_if_it_did(daemon: Daemon, tab: Callable[[], Any]) -> None:
    page: Page = await tab()
    await page.dress(width=1200)
    await page.open(daemon.address)
    await page.until(DRAWN)
    daemon.process.send_signal(signal.SIGSTOP)
    await page.value("{ const now = Date.now; Date.now = () => now() + 60000; }")
    await page.until("!document.getElementById('silence').hidden")
    assert "has not answered for" in await text_of(page)
    daemon.process.send_signal(signal.SIGCONT)
    await page.until("document.getElementById('silence').hidden")


@in_one_browser
async def test_without_a_script_everything_but_the_figures_is_there(daemon: Daemon, tab: Callable[[], Any]) -> None:
    page: Page = await tab()
    await page.call("Emulation.setScriptExecutionDisabled", value=True)
    await page.open(daemon.address)
    told = await page.call("DOM.getDocument", depth=-1)
    text = json.dumps(told)
    for words in ("Next close", "NO-GO", "ACTIVE", "Figures need the page"):
        assert words in text


def test_a_taken_port_keeps_the_daemon_from_no_close(played: subprocess.CompletedProcess[str]) -> None:
    assert played.returncode == 0
    assert "no status page for now" in played.stderr
    assert len(json.loads(played.stdout)["closes"]) == 12


def test_no_reader_keeps_the_daemon_from_its_closes(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    daemon = Daemon(home, "--speed", "max", "--cycles", "15")
    stuck = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(50)]
    for one in stuck:
        one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    daemon.process.communicate(timeout=120)
    assert daemon.process.returncode == 0
    assert home.journal("select status, count(*) from decisions group by status") == [("closed", 15)]
    for one in stuck:
        one.close()


def test_the_page_loads_neither_torch_nor_the_library_that_designs_figures(daemon: Daemon) -> None:
    for path in ("/", "/status.json", "/equity.json", "/metrics"):
        assert daemon.ask(path)
    mapped = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert [name for name in ("torch", "vl_convert", "/scipy/") if name in mapped] == []
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert int(resident) < 180 * 1024


def test_the_drawing_code_is_the_one_that_the_reports_library_makes() -> None:
    kept = gzip.decompress(files("trader.status.assets").joinpath("vega.js.gz").read_bytes())
    assert kept.decode() == vl_convert.javascript_bundle(_EXPORTS, vl_version=_VEGA_LITE)
