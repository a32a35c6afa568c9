"""Run a backtest as the command line asks for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import polars as pl

from trader.app.instruments import instruments_of
from trader.app.portfolios import play_portfolio, portfolio_text
from trader.app.results import Trade, document
from trader.app.stored import Stored, tape_of, unstored
from trader.app.strategies import Loaded, follow_rules, limits, load_strategy, max_delay, require_times
from trader.app.tapes import GENERATED, TapeChoice, read_tape, require_paid
from trader.config import Settings
from trader.domain.order import Fill
from trader.execution.fills import Costs
from trader.market.candles import parse_candles, spacing
from trader.market.funding import parse_funding
from trader.research.backtest import Backtest, Terms, run_backtest
from trader.sim.generated import generated_tape

Tell = Callable[[float, str], object]


@dataclass(frozen=True, slots=True)
class Played:
    """A backtest with everything it was made from."""

    loaded: Loaded
    result: Backtest
    trades: Sequence[Trade]
    forced: Sequence[Fill]
    generated: bool

    def document(self) -> dict[str, Any]:
        """Return what the command line promises of it."""
        return document(
            self.loaded.strategy,
            self.result.closes,
            self.trades,
            start_equity=self.result.start_equity,
            fees=self.result.fees,
            bookings=self.result.bookings,
            forced=self.forced,
            generated=self.generated,
        )


def backtest(
    settings: Settings,
    choice: TapeChoice,
    cycles: int | None,
    *,
    stored: Stored | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Backtest the strategy of the settings, of one symbol or a portfolio, over a tape and return its document."""
    portfolio = portfolio_text(settings)
    if portfolio is not None:
        return play_portfolio(settings, portfolio, unstored(choice, stored), cycles, tell).document()
    return play(settings, choice, cycles, stored=stored, tell=tell).document()


def play(
    settings: Settings,
    choice: TapeChoice,
    cycles: int | None,
    *,
    stored: Stored | None = None,
    tell: Tell | None = None,
) -> Played:
    """Backtest the strategy of the settings over a tape, or over what is stored; `tell` as in `run_backtest`."""
    loaded = load_strategy(settings)
    require_times(settings, loaded)
    with tape_of(settings, choice, stored, loaded.strategy.symbols, loaded.strategy.interval) as tape:
        return _play(settings, loaded, tape, cycles, tell)


def _play(settings: Settings, loaded: Loaded, choice: TapeChoice, cycles: int | None, tell: Tell | None) -> Played:
    strategy = loaded.strategy
    symbol = strategy.symbols[0]
    candles, funding = read_tape(replace(choice, symbol=symbol), strategy.interval) or _generated(symbol)
    instruments, begins = instruments_of(choice, symbol)
    if choice.candles is not None:
        require_paid(candles, funding, choice, cycles, strategy.interval)
    money = settings.sim
    terms = Terms(
        equity=money.equity,
        costs=Costs(money.fee, money.slippage, money.spread),
        limits=limits(settings, loaded),
        start=choice.start or begins,
        end=choice.end,
        cycles=cycles,
        max_delay=max_delay(settings, loaded),
        rules=follow_rules(loaded),
        stop_halts=settings.reconcile.stop == "halt",
    )
    result = run_backtest(strategy, candles, spacing(candles), funding, instruments, terms, tell)
    trades = [Trade(close, e.symbol, e.quantity, e.price, e.fee, e.realised) for close, e in result.fills]
    forced = [Fill("", "", e.symbol, e.quantity, e.price, e.fee, e.realised, at) for at, e in result.forced]
    return Played(loaded, result, trades, forced, generated=choice.candles is None)


def _generated(symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    bars, rates = generated_tape(symbol)
    return parse_candles(_parquet(bars), GENERATED, symbol), parse_funding(_parquet(rates), GENERATED, symbol)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
