"""Whose profit it was: every symbol's share of what a portfolio earned, to the last digit, and what it held."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np

from trader.domain.decision import CloseReport
from trader.domain.interval import Interval
from trader.execution.fills import Execution, Holding, booked
from trader.execution.round_trips import Funding
from trader.research.metrics import Metrics, signal_metrics

_ZERO = Decimal(0)
_NOTHING: Mapping[str, Decimal] = {}


@dataclass(frozen=True, slots=True)
class Share:
    """One symbol's part in a run, in USDT; what was paid is negative.

    `traded` is the notional of its fills, `prices` what price moves brought before costs, `slippage` what fills lost
    against the first price after their close, `other` what a liquidation under cross margin took besides, booked under
    its last symbol (positive: what the wallet lacked was given), `net` everything together.
    """

    symbol: str
    fills: int
    traded: Decimal
    prices: Decimal
    slippage: Decimal
    fees: Decimal
    funding: Decimal
    other: Decimal

    @property
    def net(self) -> Decimal:
        """Return its part of the change of equity."""
        return self.prices + self.slippage + self.fees + self.funding + self.other


@dataclass(frozen=True, slots=True)
class Held:
    """What a portfolio held after one close, as fractions of equity, and how many symbols it could choose from."""

    close: datetime
    gross: float
    net: float
    largest: float
    names: int
    universe: int
    turnover: float
    forecast_volatility: float | None


def shares(
    fills: Sequence[tuple[datetime, Execution]],
    forced: Sequence[tuple[datetime, Execution]],
    bookings: Sequence[Funding],
    reports: Sequence[CloseReport],
    cleared: Mapping[str, Decimal] = _NOTHING,
) -> list[Share]:
    """Part the change of equity by symbol; the parts add up to it exactly.

    Args:
        fills: of orders, each with the close that caused it, in order.
        forced: liquidations and stops, each with when it happened, in order.
        bookings: funding.
        reports: one a close; the last one's prices mark what is still held.
        cleared: what liquidations under cross margin took (negative) or gave besides, by symbol.
    """
    first_price = {(report.close, name): price for report in reports for name, price in report.prices.items()}
    executions = sorted([*forced, *fills], key=lambda one: one[0])
    symbols = sorted({execution.symbol for _, execution in executions} | {one.symbol for one in bookings})
    found = []
    for symbol in symbols:
        own = [(at, execution) for at, execution in executions if execution.symbol == symbol]
        # what was taken met its price inside a bar, also where that bar ends at a close
        asked = [(at, e) for at, e in fills if e.symbol == symbol and (at, symbol) in first_price]
        slippage = sum((-e.quantity * (e.price - first_price[at, symbol]) for at, e in asked), _ZERO)
        earned = sum((e.realised for _, e in own), _ZERO) + _unrealised(own, reports[-1].prices.get(symbol))
        found.append(
            Share(
                symbol=symbol,
                fills=len(own),
                traded=sum((abs(e.quantity) * e.price for _, e in own), _ZERO),
                prices=earned - slippage,
                slippage=slippage,
                fees=-sum((e.fee for _, e in own), _ZERO),
                funding=sum((one.amount for one in bookings if one.symbol == symbol), _ZERO),
                other=cleared.get(symbol, _ZERO),
            )
        )
    return found


def _unrealised(executions: Sequence[tuple[datetime, Execution]], price: Decimal | None) -> Decimal:
    """Return the profit of what is left of a symbol, booked as the account books it."""
    left = Holding()
    for _, execution in executions:
        if left.quantity * execution.quantity < 0:
            left.release(execution.quantity)
        else:
            left.add(execution.quantity, execution.price)
    return booked(left.quantity * price - left.cost) if left.quantity and price is not None else _ZERO


def exposures(
    reports: Sequence[CloseReport], fills: Iterable[tuple[datetime, Execution]], interval: Interval
) -> list[Held]:
    """Tell what was held after every close.

    The volatility a year that was forecast takes symbols as independent; None while a held symbol has no forecast.
    """
    traded: dict[datetime, Decimal] = {}
    for close, execution in fills:
        traded[close] = traded.get(close, _ZERO) + abs(execution.quantity) * execution.price
    found = []
    for report in reports:
        weights = weights_of(report)
        sizes = [abs(weight) for weight in weights.values()]
        risks = [
            (weights[symbol] * forecast.volatility) ** 2
            for symbol in weights
            if (forecast := report.forecasts.get(symbol)) and forecast.volatility is not None
        ]
        found.append(
            Held(
                close=report.close,
                gross=sum(sizes),
                net=sum(weights.values()),
                largest=max(sizes, default=0.0),
                names=len(weights),
                universe=len(report.forecasts),
                turnover=float(traded.get(report.close, _ZERO) / report.equity) if report.equity > 0 else 0.0,
                forecast_volatility=float(np.sqrt(sum(risks) * interval.per_year))
                if weights and len(risks) == len(weights)
                else None,
            )
        )
    return found


def weights_of(report: CloseReport) -> dict[str, float]:
    """Return what was held after a close by symbol, as signed fractions of equity; nothing where equity is gone."""
    if report.equity <= 0:
        return {}
    held = report.positions.items()
    return {symbol: float(quantity * report.prices[symbol] / report.equity) for symbol, quantity in held if quantity}


def portfolio_metrics(reports: Sequence[CloseReport], interval: Interval) -> Metrics:
    """Measure the held weights times the close-to-close returns of the candle that follows, before costs.

    A candle's return is the log of one plus the sum over symbols; otherwise as `signal_metrics` says. The last close
    has no return yet.
    """
    earned = [
        sum(
            weight * (after.candle_closes[symbol] / before.candle_closes[symbol] - 1)
            for symbol, weight in weights_of(before).items()
            if symbol in after.candle_closes and symbol in before.candle_closes
        )
        for before, after in pairwise(reports)
    ]
    logs = np.log1p(np.maximum(np.array(earned, dtype=np.float64), -1 + 1e-12))
    return signal_metrics(np.ones(len(logs)), logs, interval)


def realised_volatility(equity: Sequence[Decimal], interval: Interval) -> float | None:
    """Return the sample deviation a year of the returns of equity, to stand beside what was forecast."""
    path = np.array([float(one) for one in equity])
    if len(path) < 3 or (path <= 0).any():
        return None
    return float((path[1:] / path[:-1] - 1).std(ddof=1) * np.sqrt(interval.per_year))


def by_cause(found: Iterable[Share]) -> Mapping[str, Decimal]:
    """Add up shares by what moved the money."""
    everyone = list(found)
    return {
        name: sum((getattr(share, name) for share in everyone), _ZERO)
        for name in ("prices", "slippage", "fees", "funding", "other", "net")
    }
