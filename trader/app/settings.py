"""Settings as a command asks for them."""

from decimal import Decimal
from typing import Any

from trader.config import Settings


def money(**given: Decimal | None) -> dict[str, Decimal]:
    """Keep what the command line gave of equity, fee and slippage."""
    return {name: value for name, value in given.items() if value is not None}


def load_settings(*, strategy: str | None = None, sim: dict[str, Decimal] | None = None) -> Settings:
    """Load settings, with what the command line gave above everything else.

    Raises:
        ConfigError: a variable is unknown or its value cannot be used.
        NotPermitted: live money without consent.
    """
    given: dict[str, Any] = {}
    if strategy is not None:
        given["strategy"] = strategy
    if sim:
        given["sim"] = sim
    return Settings.load(**given)
