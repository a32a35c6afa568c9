"""Refuse a `.env` of which something would be lost.

What python-dotenv cannot parse it drops with a warning, and a quote that is not closed takes the lines below it along:
a dry run, a stage and limits would be gone without a word. Nothing of a line is repeated, as it may hold a key.
"""

import io
import re
from collections.abc import Iterable

from dotenv.parser import Binding, parse_stream

from trader.config.refusals import PREFIX
from trader.errors import ConfigError

_WORD = re.compile(rf"(?<!\w){PREFIX}\w*", re.ASCII | re.IGNORECASE)
_ASSIGNED = re.compile(rf"(?<!\w){PREFIX}\w+\s*=", re.ASCII | re.IGNORECASE)
_PLAIN = re.compile(r"\w+", re.ASCII)
_REMEDY = "write it as NAME=value on one line of its own, and close every quote on it"


def require_whole(text: str, known: Iterable[str], where: str) -> dict[str, int]:
    """Refuse the first line that would be lost: one that cannot be parsed, whoever's it is, or one of ours in part.

    Args:
        text: what the file holds.
        known: every variable that is understood; no other is named, as its name may be made of a value.
        where: names the file in errors.

    Returns:
        On which line each of ours is given a value.

    Raises:
        ConfigError: a line cannot be parsed; one of ours has no value, is swallowed, spans lines, or is there twice.
    """
    seen: dict[str, int] = {}
    valued: dict[str, int] = {}
    understood = set(known)
    if "\0" in text:
        raise ConfigError(f"The settings in {where} cannot be read: it is no UTF-8 text; correct or remove that file.")
    for binding in parse_stream(io.StringIO(text)):
        whole = binding.original.string
        own = whole.strip()
        # the parser counts from the empty lines before
        line = binding.original.line + whole[: len(whole) - len(whole.lstrip())].count("\n")
        place = f"Line {line} of {where}{_about(own, understood)}"
        if _bare(own) and _ASSIGNED.search(binding.value or ""):
            raise ConfigError(f"{place} sets more than one variable; {_REMEDY}.")
        name = (binding.key or "").upper()
        if binding.error or _swallows(binding, own):
            raise ConfigError(f"{place} cannot be read; {_REMEDY}.")
        if not name.startswith(PREFIX):
            continue
        if binding.value is None:
            raise ConfigError(f"{place} has no `=` and would set nothing; {_REMEDY}, or remove it.")
        if "\n" in own:
            raise ConfigError(f"{place} goes on over {own.count(chr(10)) + 1} lines; {_REMEDY}.")
        if name in seen:
            raise ConfigError(f"{place} sets what line {seen[name]} has set already; remove one of the two.")
        seen[name] = line
        if binding.value:
            valued[name] = line
    return valued


def _swallows(binding: Binding, own: str) -> bool:
    """Whether one of ours may lie in what is read as something else's name, or as another's value over many lines."""
    key = binding.key or ""
    if key.upper().startswith(PREFIX):
        return _PLAIN.fullmatch(key) is None
    return _WORD.search(key) is not None or ("\n" in own and _WORD.search(own) is not None)


def _bare(own: str) -> bool:
    """Whether a value stands on its line without quotes, so that what looks like another setting was meant as one."""
    return "\n" not in own and own.partition("=")[2].lstrip()[:1] not in ("'", '"')


def _about(own: str, known: set[str]) -> str:
    """Name the variable a line is about, where it is one that is understood."""
    found = _WORD.search(own.partition("\n")[0])
    return f" ({found[0].upper()})" if found is not None and found[0].upper() in known else ""
