"""Spoil the content of a good answer: rows that are missing, doubled, wrong, or not there at all."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from trader.sim.wire import dump

_FIELDS = ("openTime", "open", "high", "low", "close", "volume", "closeTime")
_PRICES = ("open", "high", "low", "close")
_NEWEST_CLOSED = -2  # the last row is the candle still open


def spoil(action: str, args: Mapping[str, Any], body: bytes) -> bytes:
    """Give the body as the fault leaves it; one it does not fit (another shape, an error) stays as it is."""
    if action == "text_200":
        return str(args["text"]).encode()
    try:
        document = json.loads(body)
        if action.endswith(("candle", "candles", "rows")) and not isinstance(document, list):
            return body
        return dump(_CHANGES[action](document, args)).encode()
    except (ValueError, TypeError, IndexError, KeyError, AttributeError):
        return body


def _empty_list(document: Any, args: Mapping[str, Any]) -> Any:
    return []


def _no_usdt(document: Any, args: Mapping[str, Any]) -> Any:
    """Drop the USDT row of a balance, or of an account's assets."""
    rows = document if isinstance(document, list) else document["assets"]
    kept = [row for row in rows if row["asset"] != "USDT"]
    return kept if isinstance(document, list) else {**document, "assets": kept}


def _missing_fields(document: Any, args: Mapping[str, Any]) -> Any:
    absent = set(args["fields"])
    if isinstance(document, list):
        return [{name: row[name] for name in row if name not in absent} for row in document]
    return {name: document[name] for name in document if name not in absent}


def _duplicate_rows(document: Any, args: Mapping[str, Any]) -> Any:
    """Repeat the last row of a list."""
    return [*document, document[-1]]


def _index(rows: list[Any], args: Mapping[str, Any]) -> int:
    index = int(args.get("index", _NEWEST_CLOSED))
    return index + len(rows) if index < 0 else index


def _missing_candle(rows: Any, args: Mapping[str, Any]) -> Any:
    index = _index(rows, args)
    return [*rows[:index], *rows[index + 1 :]]


def _duplicate_candle(rows: Any, args: Mapping[str, Any]) -> Any:
    index = _index(rows, args)
    return [*rows[: index + 1], *rows[index:]]


def _swapped_candles(rows: Any, args: Mapping[str, Any]) -> Any:
    """Let a candle and the one before it change places."""
    index = _index(rows, args)
    return [*rows[: index - 1], rows[index], rows[index - 1], *rows[index + 1 :]]


def _revised_candle(rows: Any, args: Mapping[str, Any]) -> Any:
    """Multiply the prices of a candle."""
    row = rows[_index(rows, args)]
    for name in _PRICES:
        at = _FIELDS.index(name)
        decimals = len(row[at].partition(".")[2])
        row[at] = f"{float(row[at]) * float(args['factor']):.{decimals}f}"
    return rows


def _bad_candle(rows: Any, args: Mapping[str, Any]) -> Any:
    """Put a text in the place of one number of a candle."""
    rows[_index(rows, args)][_FIELDS.index(args.get("field", "close"))] = args["value"]
    return rows


_CHANGES: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "empty_list": _empty_list,
    "no_usdt": _no_usdt,
    "missing_fields": _missing_fields,
    "duplicate_rows": _duplicate_rows,
    "missing_candle": _missing_candle,
    "duplicate_candle": _duplicate_candle,
    "swapped_candles": _swapped_candles,
    "revised_candle": _revised_candle,
    "bad_candle": _bad_candle,
}
SPOILERS = frozenset({*_CHANGES, "text_200"})
