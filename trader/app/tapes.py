"""Which market the embedded exchange plays, and with whose money."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from trader.app import current, places
from trader.app.settings import load_settings
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.exchange.clock import from_milliseconds, milliseconds
from trader.market.candles import spacing
from trader.market.funding import require_funding
from trader.research.dataset import read_candles, read_funding
from trader.sim.generated import MARKETS, SYMBOL
from trader.sim.tape import warm_begin

GENERATED = "generated"


@dataclass(frozen=True, slots=True)
class TapeChoice:
    """A candle file with its funding and trading rules, or none of them: the generated market; and the window.

    `symbol` is what a candle file holds that does not say so itself, or which market is generated.
    """

    candles: Path | None = None
    funding: Path | None = None
    instruments: Path | None = None
    start: datetime | None = None
    end: datetime | None = None
    symbol: str | None = None

    @property
    def label(self) -> str:
        """What it is called in folder names and logs."""
        return GENERATED if self.candles is None else self.candles.stem

    def identity(self, settings: Settings, strategy: str) -> dict[str, str]:
        """Return everything that makes another exchange of it."""
        money = settings.sim
        return {
            "candles": places.content_hash(self.candles),
            "funding": places.content_hash(self.funding),
            "instruments": places.content_hash(self.instruments),
            "start": "" if self.start is None else self.start.isoformat(),
            "equity": str(money.equity),
            "fee": str(money.fee),
            "slippage": str(money.slippage),
            "spread": str(money.spread),
            "strategy": strategy,
        }

    def arguments(self, settings: Settings) -> list[str]:
        """Return what the embedded exchange is started with."""
        files = {"--tape": self.candles, "--funding": self.funding, "--instruments": self.instruments}
        words = [word for flag, path in files.items() if path is not None for word in (flag, str(path.resolve()))]
        if self.symbol is not None:
            words += ["--symbol", self.symbol]
        if self.start is not None:
            words += ["--from", self.start.isoformat()]
        money = settings.sim
        words += ["--equity", str(money.equity), "--fee", str(money.fee)]
        words += ["--slippage", str(money.slippage), "--spread", str(money.spread)]
        if settings.sim.faults is not None:
            words += ["--faults", str(settings.sim.faults)]
        return words


def read_tape(choice: TapeChoice, interval: Interval) -> tuple[pl.DataFrame, pl.DataFrame | None] | None:
    """Read candles and funding, and refuse files and a window that do not go together; None on the generated market.

    Raises:
        ConfigError: a file without the candles it belongs to, or a window that ends before it begins.
        DataError: candles or funding are not usable, of another symbol, or too coarse for the interval.
    """
    if choice.candles is None and (choice.funding is not None or choice.instruments is not None):
        raise ConfigError("Funding and instruments belong to a candle file; give it too, or leave them out.")
    if choice.start is not None and choice.end is not None and choice.end < choice.start:
        raise ConfigError(f"The window ends ({choice.end}) before it begins ({choice.start}); swap --from and --to.")
    if choice.candles is None:
        _require_generated(choice.symbol, interval)
        return None
    candles = read_candles(choice.candles, choice.symbol)
    source = spacing(candles)
    if interval.native.minutes % source.minutes:
        raise DataError(
            f"{choice.candles.name} holds {source} bars, of which no {interval.native} klines can be made for the "
            f"strategy's {interval}; give candles of {interval.native} or finer."
        )
    return candles, None if choice.funding is None else read_funding(choice.funding, choice.symbol)


def require_paid(
    candles: pl.DataFrame, funding: pl.DataFrame | None, choice: TapeChoice, cycles: int | None, interval: Interval
) -> None:
    """Refuse funding that does not reach over what is played of one symbol: what is missing would be booked as nothing.

    `cycles` bounds what is played from the choice's start, or from where an exchange on these candles begins; None: to
    their end.

    Raises:
        DataError: it begins too late, ends too early, or has a hole.
    """
    if funding is None:
        return
    first, last = candles["open_time"].to_list()[0], candles["close_time"].to_list()[-1]
    begin = warm_begin(milliseconds(first), milliseconds(last), spacing(candles).milliseconds)
    since = choice.start or from_milliseconds(begin)
    ends = [last, choice.end, None if cycles is None else since + (cycles + 1) * interval.delta]
    require_funding(funding, candles["symbol"][0], since, min(end for end in ends if end is not None))


def _require_generated(symbol: str | None, interval: Interval) -> None:
    """Refuse a strategy that the generated market cannot be traded by."""
    market = MARKETS.get(symbol or SYMBOL)
    if market is None or interval.native.minutes * 60_000 % market.bar:
        bars = " and ".join(f"{one.symbol} in bars of {one.bar // 60_000} minutes" for one in MARKETS.values())
        raise ConfigError(
            f"Only {bars} are generated, and the strategy trades {symbol or SYMBOL} every {interval}; give candles of "
            "its own (--tape or --candles)."
        )


def remember(settings: Settings, tape: TapeChoice, home: Path, port: int) -> None:
    """Write down what an embedded exchange was started with."""
    money = settings.sim
    now = current.Current(
        folder=home.name,
        port=port,
        strategy=settings.strategy,
        symbol=tape.symbol,
        candles=_text(tape.candles),
        funding=_text(tape.funding),
        instruments=_text(tape.instruments),
        start=None if tape.start is None else tape.start.isoformat(),
        equity=str(money.equity),
        fee=str(money.fee),
        slippage=str(money.slippage),
        spread=str(money.spread),
    )
    current.remember(home, now)


def again(settings: Settings) -> tuple[Settings, TapeChoice]:
    """Return settings and tape as they were when the embedded exchange last ran; on a real venue, as they are."""
    last = current.recall(settings.data_dir) if settings.venue == "sim" else None
    if last is None:
        return settings, TapeChoice()
    money = {name: Decimal(getattr(last, name)) for name in ("equity", "fee", "slippage", "spread")}
    tape = TapeChoice(
        candles=_path_of(last.candles),
        funding=_path_of(last.funding),
        instruments=_path_of(last.instruments),
        start=None if last.start is None else datetime.fromisoformat(last.start),
        symbol=last.symbol,
    )
    return load_settings(strategy=last.strategy, sim=money), tape


def _path_of(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
