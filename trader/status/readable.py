"""Numbers and times as people read them: grouped, with a true minus sign, and a dash where they are not known."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_DASH = "–"
_NAMED = 3


def amount(value: str | float | None) -> str:
    """Write an amount of USDT with two decimals and a true minus sign; a dash where it is not known."""
    return _DASH if value is None else _signed(f"{float(value):,.2f}")


def quantity(value: str | None) -> str:
    """Write a quantity or a price with all its digits, grouped."""
    if value is None:
        return _DASH
    whole, point, rest = value.partition(".")
    return _signed(f"{int(whole):,}" if whole.lstrip("-") != "0" else whole) + point + rest


def percent(value: float | None, digits: int = 2) -> str:
    """Write a fraction in per cent."""
    return _DASH if value is None else _signed(f"{value * 100:,.{digits}f}") + " %"


def points(value: float | None) -> str:
    """Write a log return in basis points."""
    return _DASH if value is None else _signed(f"{value * 1e4:+,.1f}") + " bp"


def measured(value: float | None) -> str:
    """Write what a gate measured: a count whole, anything else with three decimals."""
    if value is None:
        return _DASH
    return _signed(f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:,.3f}")


def minute(value: str | None) -> str:
    """Write a time to the minute, without its letters."""
    return _DASH if value is None else datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M")


def tone(value: str | float | None) -> str:
    """Return the class of a number: a gain, a loss, or neither."""
    if value is None or float(value) == 0:
        return ""
    return "gain" if float(value) > 0 else "loss"


def only(values: Mapping[str, Any]) -> Any:
    """Return the value of a strategy of one symbol, None where there is none, or where there are many."""
    return next(iter(values.values())) if len(values) == 1 else None


def forecast(values: Mapping[str, float]) -> str:
    """Write a forecast in basis points, or of how many symbols there are some."""
    return points(only(values)) if len(values) < 2 else f"{len(values)} symbols"


def target(values: Mapping[str, float]) -> str:
    """Write a target in per cent of equity, or of many symbols what they add up to without their signs."""
    return percent(only(values) if len(values) < 2 else sum(map(abs, values.values())), 1)


def position(values: Mapping[str, str]) -> str:
    """Write a quantity, or how many symbols are held."""
    if len(values) < 2:
        return quantity(only(values))
    return f"{sum(float(held) != 0 for held in values.values())} held"


def left_out(unknown: Mapping[str, str]) -> str:
    """Write the symbols that a close was decided without, each with its reason; of many the first and a count."""
    named = "; ".join(f"{symbol}: {why}" for symbol, why in list(unknown.items())[:_NAMED])
    return named + (f"; and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else "")


def _signed(text: str) -> str:
    return text.replace("-", "−")
