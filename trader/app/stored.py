"""What research reads: files where the command line names them, else the local store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.market.funding import on_the_minute
from trader.research.dataset import read_candles, read_funding
from trader.research.history.store import Store


@dataclass(frozen=True, slots=True)
class Stored:
    """What the command line names of the store: a symbol, and of which bars (those that cover most, unless named)."""

    symbol: str
    interval: Interval | None = None


def store_of(settings: Settings) -> Store:
    """Return the store of this data directory."""
    return Store(settings.data_dir / "store")


def candles_of(settings: Settings, path: Path | None, symbol: str | None, interval: Interval) -> pl.DataFrame:
    """Return the candles of a file, or without one what the store has of a symbol, at the interval asked for.

    Candles of a file keep their own interval.

    Raises:
        ConfigError: neither a file nor a symbol is named.
        DataError: the candles cannot be used.
    """
    if path is not None:
        return read_candles(path, symbol)
    if symbol is None:
        raise ConfigError("Nothing says whose candles; give a candle file with --candles, or a --symbol of the store.")
    return store_of(settings).candles(symbol, interval)


def funding_of(settings: Settings, path: Path | None, candles: Path | None, symbol: str | None) -> pl.DataFrame | None:
    """Return the funding of a file, or beside candles of the store what that has; None where nothing is known of it.

    Raises:
        DataError: the funding cannot be used.
    """
    if path is not None:
        return read_funding(path, symbol)
    if candles is not None or symbol is None:
        return None
    stored = store_of(settings).funding(symbol)
    return None if stored.is_empty() else on_the_minute(stored)


@contextmanager
def tape_of(
    settings: Settings, choice: TapeChoice, stored: Stored | None, symbols: Sequence[str], interval: Interval
) -> Iterator[TapeChoice]:
    """Lend a choice whose files hold what the store has, where it is asked for: from here on it is a tape like any.

    Raises:
        ConfigError: a candle file is named too, or the strategy trades something else.
        DataError: the store has no bars from which the strategy's candles can be made.
    """
    if stored is None:
        yield choice
        return
    if choice.candles is not None:
        raise ConfigError("Give a candle file with --candles, or a --symbol of the store, but not both.")
    if list(symbols) != [stored.symbol]:
        raise ConfigError(
            f"The strategy trades {', '.join(symbols)} and not {stored.symbol}; name what it trades with --symbol."
        )
    store = store_of(settings)
    length = stored.interval or store.finest(stored.symbol, interval.native)
    bars = store.bars(stored.symbol, length)
    if bars.is_empty():
        raise DataError(f"The store has no {length} bars of {stored.symbol}; `trader history list` tells what it has.")
    with TemporaryDirectory(prefix="trader-") as folder:
        candles = Path(folder) / f"{stored.symbol}_{length}.parquet"
        bars.drop("close_time").write_parquet(candles)
        lent = replace(choice, candles=candles)
        rates = store.funding(stored.symbol)
        if choice.funding is None and not rates.is_empty():
            lent = replace(lent, funding=Path(folder) / f"{stored.symbol}_funding.parquet")
            rates.write_parquet(Path(folder) / f"{stored.symbol}_funding.parquet")
        yield lent


def unstored(choice: TapeChoice, stored: Stored | None) -> TapeChoice:
    """Return a choice for a portfolio, which is played on files only.

    Raises:
        ConfigError: a symbol of the store is asked for.
    """
    if stored is not None:
        raise ConfigError("A portfolio holds many symbols; give a candle file with --candles in place of a --symbol.")
    return choice
