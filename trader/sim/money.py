"""Decimal arithmetic of the exchange: eight decimals, ticks and steps, and how a number is written."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import numpy as np

ZERO = Decimal(0)
ONE = Decimal(1)
_EIGHT = Decimal("1e-8")


def q8(amount: Decimal) -> Decimal:
    """Round an amount of USDT to 1e-8, half to even."""
    return amount.quantize(_EIGHT, rounding=ROUND_HALF_EVEN) + ZERO


def exact(number: float) -> Decimal:
    """Read a float of the tape as the decimal a person would write for it."""
    return Decimal(repr(number))


def sign(number: Decimal) -> int:
    """Give -1, 0 or 1."""
    return (number > 0) - (number < 0)


def to_tick(price: Decimal, tick: Decimal, direction: int) -> Decimal:
    """Round a price to the tick: up for a buyer (+1), down for a seller (-1)."""
    rounding = ROUND_CEILING if direction > 0 else ROUND_FLOOR
    return (price / tick).to_integral_value(rounding=rounding) * tick


def decimals(number: Decimal) -> int:
    """Count the decimal places a number needs (0.00010 needs four)."""
    return max(0, -int(number.normalize().as_tuple().exponent))


def power_of_ten_worth_one(price: Decimal) -> Decimal:
    """Find the largest power of ten, at most 1, of which a quantity is worth at most one USDT."""
    exponent = -price.adjusted()
    if Decimal(1).scaleb(exponent) * price > 1:
        exponent -= 1
    return Decimal(1).scaleb(min(exponent, 0))


def text(number: Decimal) -> str:
    """Write a number without an exponent and without padding zeros."""
    if number == 0:
        return "0"
    return format(number.normalize(), "f")


def text8(number: Decimal) -> str:
    """Write a number with eight decimals, as wallets and rates are written."""
    return format(q8(number), "f")


def as_number(number: Decimal) -> int | float:
    """Give JSON a number: whole ones as int."""
    return int(number) if number == number.to_integral_value() else float(number)


def finest_decimals(columns: list[list[float]]) -> int:
    """Count the decimals of the finest price in float columns (at most 12)."""
    most = 0
    for column in columns:
        values = np.asarray(column, dtype=np.float64)
        while most < 12 and not bool((np.round(values, most) == values).all()):
            most += 1
    return most


def whole(number: Decimal, step: Decimal) -> bool:
    """Tell whether a quantity is a whole number of steps."""
    return number % step == 0
