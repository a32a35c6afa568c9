"""What the page loads, all from the daemon itself: its style, its script, and the drawing code of its figures."""

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

_MEDIA = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_NAMES = {"page.css": "page.css", "page.js": "page.js", "vega.js": "vega.js.gz"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    media: str
    gzipped: bool


def find(name: str) -> Asset | None:
    """Return the asset of a name, with or without the digest that `address` puts into it."""
    plain = re.sub(r"\.[0-9a-f]{12}\.", ".", name)
    file = _NAMES.get(plain)
    if file is None:
        return None
    return Asset(_content(file), _MEDIA[plain.rpartition(".")[2]], file.endswith(".gz"))


def address(name: str) -> str:
    """Return where a page finds an asset: another content has another address, so that it may be kept for ever."""
    stem, _, ending = name.rpartition(".")
    return f"/assets/{stem}.{sha256(_content(_NAMES[name])).hexdigest()[:12]}.{ending}"


@cache
def _content(file: str) -> bytes:
    return files(__name__).joinpath(file).read_bytes()
