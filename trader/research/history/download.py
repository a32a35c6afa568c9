"""Archives fetched by address: whole, checked, and continued where they broke off."""

import hashlib
import re
from datetime import date
from pathlib import Path

import aiohttp

from trader.errors import ConfigError, DataError, ExchangeError
from trader.research.history.archives import archive_path

_ADDRESS = re.compile(r"https://[^\s/]\S*|http://(127\.0\.0\.1|localhost)(:\d+)?(/\S*)?")
_PIECE = 1 << 18
_ATTEMPTS = 3
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
_OK, _PARTIAL, _MISSING, _RANGE_OVER = 200, 206, 404, 416


class NoArchive(DataError):
    """That day has no archive: it is not published yet, or the symbol was not traded."""


class Downloader:
    """Fetches daily archives of trades into a folder.

    Args:
        address: what lies before `data/futures/...`.
        folder: where archives are kept until they are read; one that broke off waits there as `.part`.

    Raises:
        ConfigError: an address without TLS that leads off this machine.
    """

    def __init__(self, address: str, folder: Path) -> None:
        if not _ADDRESS.fullmatch(address):
            raise ConfigError(f"{address!r} is no https:// address (http:// only on this machine); give one that is.")
        self._address = address.rstrip("/")
        self._folder = folder

    async def trades(self, session: aiohttp.ClientSession, symbol: str, day: date) -> Path:
        """Return the path of a day's archive, fetched and equal to its published check sum.

        Raises:
            NoArchive: there is none for that day.
            DataError: the check sum is not its own, three times.
            ExchangeError: the address does not answer.
        """
        path = archive_path(symbol, "trades", day)
        name = path.rpartition("/")[2]
        target = self._folder / name
        expected = await self._checksum(session, path, name)
        if target.is_file() and _digest(target) == expected:
            return target
        part = target.with_name(f"{name}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_ATTEMPTS):
                await self._fetch(session, path, part)
                if _digest(part) == expected:
                    part.replace(target)
                    return target
                part.unlink()
        except OSError as error:
            if isinstance(error, aiohttp.ClientError | TimeoutError):
                raise
            raise ConfigError(
                f"The archive {part} cannot be written: {error.strerror}; point TRADER_DATA_DIR to a disk with room."
            ) from error
        raise DataError(f"{name} is not what its published check sum says, three times over; try again later.")

    async def _checksum(self, session: aiohttp.ClientSession, path: str, name: str) -> str:
        text = (await self._get(session, f"{path}.CHECKSUM")).decode("ascii", "replace").split()
        if len(text) != 2 or len(text[0]) != 64 or text[1].lstrip("*") != name:
            raise DataError(f"The published check sum of {name} cannot be read; try again later.")
        return text[0].lower()

    async def _get(self, session: aiohttp.ClientSession, path: str) -> bytes:
        try:
            async with session.get(f"{self._address}/{path}", timeout=_TIMEOUT) as response:
                self._require(response.status, path)
                return await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(path, error) from error

    async def _fetch(self, session: aiohttp.ClientSession, path: str, part: Path) -> None:
        """Continue a file from the bytes that are there; what arrives is written at once."""
        have = _size(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            async with session.get(f"{self._address}/{path}", headers=headers, timeout=_TIMEOUT) as response:
                if response.status == _RANGE_OVER:
                    return
                self._require(response.status, path)
                with part.open("ab" if response.status == _PARTIAL else "wb") as file:
                    async for piece in response.content.iter_chunked(_PIECE):
                        file.write(piece)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(path, error) from error

    def _require(self, status: int, path: str) -> None:
        if status == _MISSING:
            raise NoArchive(f"There is no archive {path.rpartition('/')[2]}; name days on which the symbol was traded.")
        if status not in (_OK, _PARTIAL):
            raise ExchangeError(f"{self._address} answered {path} with HTTP {status}; try again later.", status=status)

    def _lost(self, path: str, error: Exception) -> ExchangeError:
        return ExchangeError(
            f"{self._address} did not send {path} ({type(error).__name__}); what has arrived is kept, run it again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
