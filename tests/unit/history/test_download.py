import hashlib
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.unit.history.trading_days import archive, name, trades
from trader.errors import ConfigError, DataError, ExchangeError
from trader.research.history.archives import archive_path
from trader.research.history.download import Downloader, NoArchive

DAY = date(2024, 1, 1)
PATH = "/" + archive_path("ADAUSDT", "trades", DAY)


class Shelf:
    """A server of files that can break off, lie, or answer with an error."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: int | None = None
        self.status: int | None = None
        self.ranges = True

    def put(self, path: str, content: bytes, checksum: str | None = None) -> None:
        self.files[path] = content
        file = path.rpartition("/")[2]
        self.files[f"{path}.CHECKSUM"] = f"{checksum or hashlib.sha256(content).hexdigest()}  {file}\n".encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Range")))
        content = self.files.get(request.path)
        if self.status is not None or content is None:
            return web.Response(status=self.status or 404)
        begin = 0
        asked = request.headers.get("Range")
        if asked is not None and self.ranges:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                return web.Response(status=416)
        response = web.StreamResponse(status=206 if begin else 200)
        response.content_length = len(content) - begin
        await response.prepare(request)
        end = len(content) if self.cut is None or request.path.endswith("SUM") else self.cut
        await response.write(content[begin:end])
        if end < len(content):
            assert request.transport is not None
            request.transport.close()
        return response


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    one = Shelf()
    published = tmp_path / "published"
    published.mkdir()
    one.put(PATH, archive(published, trades(1), 0).read_bytes())
    return one


@pytest_asyncio.fixture
async def address(shelf: Shelf) -> AsyncIterator[str]:
    server = web.Application()
    server.router.add_get("/{path:.*}", shelf.answer)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


async def test_an_archive_arrives_whole_and_is_not_fetched_twice(
    shelf: Shelf, address: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    downloader = Downloader(address, tmp_path / "archives")
    for _ in range(2):
        path = await downloader.trades(session, "ADAUSDT", DAY)
        assert path.name == name(0)
        assert path.read_bytes() == shelf.files[PATH]
    assert [asked for asked, _ in shelf.asked] == [f"{PATH}.CHECKSUM", PATH, f"{PATH}.CHECKSUM"]


@pytest.mark.parametrize("ranges", [True, False])
async def test_what_broke_off_is_continued_where_it_stopped(
    shelf: Shelf, address: str, session: aiohttp.ClientSession, tmp_path: Path, ranges: bool
) -> None:
    downloader = Downloader(address, tmp_path)
    shelf.cut = 1000
    with pytest.raises(ExchangeError, match="what has arrived is kept, run it again"):
        await downloader.trades(session, "ADAUSDT", DAY)
    (part,) = tmp_path.glob("*.part")
    have = part.stat().st_size
    assert 0 < have <= 1000
    shelf.cut, shelf.ranges = None, ranges
    path = await Downloader(address, tmp_path).trades(session, "ADAUSDT", DAY)
    assert shelf.asked[-1] == (PATH, f"bytes={have}-")
    assert path.read_bytes() == shelf.files[PATH]
    assert list(tmp_path.glob("*.part")) == []


async def test_a_remainder_that_is_not_the_archives_is_thrown_away(
    shelf: Shelf, address: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for remainder in (b"x" * 100, b"x" * 10**6):
        (tmp_path / f"{name(0)}.part").write_bytes(remainder)
        path = await Downloader(address, tmp_path).trades(session, "ADAUSDT", DAY)
        assert path.read_bytes() == shelf.files[PATH]
        path.unlink()


async def test_an_archive_that_is_not_what_its_sum_says_is_refused(
    shelf: Shelf, address: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    shelf.put(PATH, shelf.files[PATH], checksum="0" * 64)
    with pytest.raises(DataError, match=f"{name(0)} is not what its published check sum says"):
        await Downloader(address, tmp_path).trades(session, "ADAUSDT", DAY)
    assert not (tmp_path / name(0)).exists()
    shelf.files[f"{PATH}.CHECKSUM"] = b"<html>"
    with pytest.raises(DataError, match="cannot be read"):
        await Downloader(address, tmp_path).trades(session, "ADAUSDT", DAY)


async def test_a_day_without_an_archive_and_a_server_that_fails_are_told_apart(
    shelf: Shelf, address: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    with pytest.raises(NoArchive, match=r"ADAUSDT-trades-2024-01-02\.zip"):
        await Downloader(address, tmp_path).trades(session, "ADAUSDT", date(2024, 1, 2))
    shelf.status = 503
    with pytest.raises(ExchangeError, match="HTTP 503"):
        await Downloader(address, tmp_path).trades(session, "ADAUSDT", DAY)
    with pytest.raises(ExchangeError, match="did not send"):
        await Downloader("http://127.0.0.1:1", tmp_path).trades(session, "ADAUSDT", DAY)


@pytest.mark.parametrize("elsewhere", ["http://data.binance.vision", "ftp://127.0.0.1", "data.binance.vision"])
def test_archives_come_over_tls_or_from_this_machine(tmp_path: Path, elsewhere: str) -> None:
    with pytest.raises(ConfigError, match="no https:// address"):
        Downloader(elsewhere, tmp_path)
