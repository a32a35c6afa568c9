"""Backtest a portfolio as the command line asks for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import compositions, places
from trader.app.instruments import rules_of
from trader.app.results import Trade, document
from trader.app.strategies import first_close, follow_rules, limits, max_delay, require_times, text_hash
from trader.app.tapes import TapeChoice
from trader.config import PortfolioFile, Settings, kind_of
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.errors import ConfigError, DataError
from trader.execution.fills import Costs
from trader.market.candles import spacing
from trader.market.funding import with_funding
from trader.market.panel import excluding, unfunded, with_dollar_volume
from trader.research.backtest import Backtest, Terms, run_backtest
from trader.research.dataset import read_bars, read_funding
from trader.strategies.carry import CarryStrategy


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A portfolio strategy over the symbols of a candle file: its own file, text and hash."""

    strategy: CarryStrategy
    file: PortfolioFile
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class Market:
    """The usable candles of many symbols, their funding in the candles, and who was left out and why."""

    candles: pl.DataFrame
    funding: pl.DataFrame | None
    source: Interval
    excluded: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlayedPortfolio:
    """A backtest of a portfolio with everything it was made from."""

    portfolio: Portfolio
    market: Market
    result: Backtest

    @property
    def trades(self) -> list[Trade]:
        """Return the fills of orders."""
        return [Trade(close, e.symbol, e.quantity, e.price, e.fee, e.realised) for close, e in self.result.fills]

    @property
    def forced(self) -> list[Fill]:
        """Return the fills of liquidations and stops."""
        gone = self.result.forced
        return [Fill("", "", e.symbol, e.quantity, e.price, e.fee, e.realised, at) for at, e in gone]

    def document(self) -> dict[str, Any]:
        """Return what the command line promises of a backtest, and what a portfolio has besides."""
        strategy, result = self.portfolio.strategy, self.result
        found = document(
            strategy,
            result.closes,
            self.trades,
            start_equity=result.start_equity,
            fees=result.fees,
            bookings=result.bookings,
            forced=self.forced,
            generated=False,
            cleared=result.cleared,
        )
        found["portfolio"]["excluded"] = dict(self.market.excluded)
        return found


def portfolio_text(settings: Settings) -> tuple[Path, str] | None:
    """Return the strategy file the settings name and its text, if it is of a portfolio.

    Raises:
        ConfigError: there is no such file, or it cannot be read.
    """
    path = places.strategy_path(settings.strategy)
    text = _text_of(path)
    return (path, text) if kind_of(text) == "carry" else None


def portfolio_named(name: str) -> tuple[Path, str] | None:
    """Return a strategy file of a portfolio by path or shipped name; None where it names a model.

    Raises:
        ConfigError: the file cannot be read, or is a strategy's that trades by a model.
    """
    beside = Path(name).expanduser()
    shipped = places.shipped() / "strategies" / f"{name}.toml"
    path = beside if beside.suffix == ".toml" and beside.is_file() else shipped
    if not path.is_file():
        return None
    text = _text_of(path)
    if kind_of(text) == "carry":
        return path, text
    if path == beside:
        raise ConfigError(
            f"{path} trades by a model, and that is what has a verdict; name the model of its file instead."
        )
    return None


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The strategy file {path} cannot be read ({error}); check its path and rights.") from error


def compose_portfolio(text: str, where: str, symbols: Sequence[str]) -> Portfolio:
    """Put a portfolio together from its file's text, over the symbols there are.

    Raises:
        ConfigError: the file says something that cannot be traded.
    """
    file = PortfolioFile.parse(text, where)
    return Portfolio(compositions.carry(file, symbols), file, text, text_hash(text))


def read_market(choice: TapeChoice, interval: Interval) -> Market:
    """Read the candles and funding of many symbols; what cannot be used is left out by name.

    Raises:
        ConfigError: no candle file is named.
        DataError: the files cannot be read, hold nothing usable, or no bars of which the interval is made.
    """
    if choice.candles is None:
        raise ConfigError("A portfolio is played on candles of many symbols; give a file with --candles.")
    bars = read_bars(choice.candles)
    source = spacing(bars)
    if interval.minutes % source.minutes:
        raise DataError(f"{choice.candles.name} holds {source} bars, of which no {interval} candles can be made.")
    usable, excluded = excluding(with_dollar_volume(bars), source)
    funding = None if choice.funding is None else read_funding(choice.funding)
    usable = usable if funding is None else with_funding(usable, funding)
    blind = unfunded(usable)
    usable = usable.filter(~pl.col("symbol").is_in(sorted(blind)))
    if usable.is_empty():
        why = next(iter({**excluded, **blind}.items()), ("", "it is empty"))
        raise DataError(
            f"{choice.candles.name} holds no usable symbol ({why[0]}: {why[1]}); give candles with funding."
        )
    return Market(usable, funding, source, dict(sorted({**excluded, **blind}.items())))


def play_portfolio(
    settings: Settings,
    file: tuple[Path, str],
    choice: TapeChoice,
    cycles: int | None,
    tell: Callable[[float, str], object] | None = None,
) -> PlayedPortfolio:
    """Backtest a portfolio over a candle file of many symbols; without a start, from the first close it can decide."""
    path, text = file
    interval = Interval.parse(PortfolioFile.parse(text, str(path)).interval)
    market = read_market(choice, interval)
    portfolio = compose_portfolio(text, str(path), market.candles["symbol"].unique().to_list())
    require_times(settings, portfolio)
    strategy, sim = portfolio.strategy, settings.sim
    candles = market.candles.filter(pl.col("symbol").is_in(list(strategy.symbols)))
    terms = Terms(
        equity=sim.equity,
        costs=Costs(sim.fee, sim.slippage, sim.spread),
        limits=limits(settings, portfolio),
        start=choice.start or first_close(candles, strategy),
        end=choice.end,
        cycles=cycles,
        max_delay=max_delay(settings, portfolio),
        rules=follow_rules(portfolio),
        stop_halts=settings.reconcile.stop == "halt",
    )
    rules = rules_of(choice, strategy.symbols)
    result = run_backtest(strategy, candles, market.source, market.funding, rules, terms, tell)
    return PlayedPortfolio(portfolio, replace(market, candles=candles), result)
