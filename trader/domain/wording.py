"""How amounts and times are written wherever they leave the process as text."""

from datetime import datetime
from decimal import Decimal


def money(amount: Decimal) -> str:
    """Write an amount of money or a quantity without an exponent and without idle zeros."""
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def stamp(moment: datetime) -> str:
    """Write a time as UTC ISO 8601."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
