"""Archives as Binance publishes them: what a name promises, and the bytes inside."""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal

from zlib_ng import zlib_ng

from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError

_NAME = re.compile(r"([A-Z0-9_]+)-(trades|\d+[mhd])-(\d{4})-(\d{2})(?:-(\d{2}))?\.(?:zip|csv)", re.IGNORECASE)
_ZIP = b"PK\x03\x04"
_PIECE = 1 << 20
_DOWNLOAD_AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """What `SYMBOL-trades-2024-01-31.zip` or `SYMBOL-1h-2024-01.zip` says: whose, which, and the UTC days it covers.

    `interval` is None for trades; `end` is exclusive.
    """

    symbol: str
    interval: Interval | None
    begin: datetime
    end: datetime

    @classmethod
    def read(cls, name: str) -> "ArchiveName | None":
        """Return what a file's name says, None where it is no archive's name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        symbol, kind, year, month, day = match.groups()
        try:
            begin = datetime(int(year), int(month), int(day or 1), tzinfo=UTC)
            end = begin + timedelta(days=1 if day else 32)
            interval = None if kind.lower() == "trades" else Interval.parse(kind.lower())
        except (ValueError, ConfigError):
            return None
        return cls(symbol.upper(), interval, begin, end if day else end.replace(day=1))


def archive_path(symbol: str, kind: Literal["trades"], day: date) -> str:
    """Return where a day's archive lies below the address of the archives."""
    return f"data/futures/um/daily/{kind}/{symbol}/{symbol}-{kind}-{day:%Y-%m-%d}.zip"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"The file {path} cannot be read: {error.strerror}; check its path and rights.") from error
    with file:
        yield file


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the table inside a zip or a plain file, piece by piece; a zip must hold one table of its own name.

    Raises:
        DataError: unreadable, cut off or altered (the check sum inside the zip), or another file lies in it.
    """
    with opened(path) as file:
        if file.read(len(_ZIP)) != _ZIP:
            file.seek(0)
            while piece := file.read(_PIECE):
                yield piece
            return
        member, begin = _only_member(file, path)
        file.seek(begin)
        yield from _inflate(file, member, path)


def _only_member(file: BinaryIO, path: Path) -> tuple[zipfile.ZipInfo, int]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path.name} is a damaged zip file ({error}); {_DOWNLOAD_AGAIN}.") from error
    held = ", ".join(member.filename for member in members[:3]) or "nothing"
    if len(members) != 1 or Path(members[0].filename).stem.lower() != path.stem.lower():
        raise DataError(f"{path.name} holds {held} and not {path.stem}.csv alone; {_DOWNLOAD_AGAIN}.")
    if members[0].compress_type != zipfile.ZIP_DEFLATED or members[0].flag_bits & 1:
        raise DataError(f"{path.name} is packed or encrypted in a way that archives are not; {_DOWNLOAD_AGAIN}.")
    file.seek(max(0, members[0].header_offset))
    head = file.read(30)
    return members[0], members[0].header_offset + 30 + sum(
        int.from_bytes(head[at : at + 2], "little") for at in (26, 28)
    )


def _inflate(file: BinaryIO, member: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    inflate = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS)
    left, size, check = member.compress_size, 0, 0
    try:
        while left > 0 and (packed := file.read(min(_PIECE, left))):
            left -= len(packed)
            piece = inflate.decompress(packed)
            size, check = size + len(piece), zlib_ng.crc32(piece, check)
            yield piece
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise DataError(f"{path.name} is damaged ({error}); {_DOWNLOAD_AGAIN}.") from error
    if left or not inflate.eof or (size, check) != (member.file_size, member.CRC):
        raise DataError(f"{path.name} is damaged: its contents are not what their check sum says; {_DOWNLOAD_AGAIN}.")
