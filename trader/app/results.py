"""The document that a finished run and a backtest share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from trader.decide import Strategy
from trader.domain.decision import CloseReport
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.domain.wording import money, stamp
from trader.execution.fills import Execution
from trader.execution.round_trips import Funding, RoundTrip, round_trips
from trader.research.attribution import by_cause, exposures, portfolio_metrics, realised_volatility, shares
from trader.research.metrics import Metrics, seed_metrics
from trader.research.performance import equity_performance, trade_performance

_RETURN = Decimal("1e-12")
_NOTHING: Mapping[str, Decimal] = {}


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill and the close that caused it; signed quantity, fee paid and profit realised in USDT."""

    close: datetime
    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal


def document(
    strategy: Strategy,
    reports: Sequence[CloseReport],
    trades: Sequence[Trade],
    *,
    start_equity: Decimal,
    fees: Decimal,
    bookings: Sequence[Funding],
    forced: Sequence[Fill] = (),
    generated: bool,
    cleared: Mapping[str, Decimal] = _NOTHING,
) -> dict[str, Any]:
    """Write closes, trades and metrics as the command line promises them, round trips and performance beside them.

    Args:
        strategy: whose closes these are.
        reports: one a close, in order.
        trades: fills in order.
        start_equity: equity before the first close.
        fees: what was paid to the exchange, in USDT.
        bookings: funding in order.
        forced: fills of orders the exchange sent: liquidations and stops.
        generated: whether the market was a generated one.
        cleared: what liquidations under cross margin took (negative) or gave besides, by symbol.
    """
    symbols = strategy.symbols
    end_equity = reports[-1].equity if reports else start_equity
    traded = sum((abs(trade.quantity) * trade.price for trade in trades), Decimal(0))
    mean_equity = sum((report.equity for report in reports), Decimal(0)) / len(reports) if reports else start_equity
    metrics: dict[str, Any] = _before_costs(strategy, reports) | {
        "turnover": float(traded / mean_equity) if mean_equity else 0.0,
        "fees": money(fees),
        "funding": money(sum((booking.amount for booking in bookings), Decimal(0))),
        "net_return": money((end_equity / start_equity - 1).quantize(_RETURN)) if start_equity else "0",
    }
    found: dict[str, Any] = {
        "strategy": strategy.name,
        "closes": [_close(report, symbols) for report in reports],
        "trades": [_trade(trade) for trade in trades],
        "metrics": metrics,
    }
    trips = _round_trips(reports, trades, bookings, forced)
    found["round_trips"] = round_trip_rows(trips, strategy.interval, start_equity)
    found["performance"] = _performance(strategy.interval, reports, trades, trips, start_equity)
    if len(symbols) != 1:
        # causes are told apart between closes, so from the first one on
        later = [one for one in bookings if one.time > reports[0].close] if reports else []
        found["portfolio"] = _of_many(reports, trades, forced, later, cleared, strategy.interval)
    return found | ({"generated": True} if generated else {})


def _round_trips(
    reports: Sequence[CloseReport], trades: Sequence[Trade], bookings: Sequence[Funding], forced: Sequence[Fill]
) -> list[RoundTrip]:
    """Part a run into round trips; a fill of ours happens at the close that caused it."""
    if not reports:
        return []
    fills = [Fill("", "", t.symbol, t.quantity, t.price, t.fee, t.realised, t.close) for t in trades]
    first, held = reports[0], dict(reports[0].positions)
    for trade in trades:
        if trade.close <= first.close:
            held[trade.symbol] = held.get(trade.symbol, Decimal(0)) - trade.quantity
    # of what the exchange took at one moment a journal knows no order
    in_order = sorted([*fills, *forced], key=lambda fill: (fill.time, fill.symbol))
    return round_trips(in_order, bookings, held=held, marks=reports[-1].prices)


def round_trip_rows(trips: Sequence[RoundTrip], interval: Interval, start_equity: Decimal) -> list[dict[str, Any]]:
    """Write round trips, each with what all so far came to as a share of the starting equity."""
    rows = []
    total = Decimal(0)
    for trip in trips:
        total += trip.net
        rows.append(
            {
                "symbol": trip.symbol,
                "quantity": money(trip.quantity),
                "entry_time": None if trip.entry_time is None else stamp(trip.entry_time),
                "exit_time": None if trip.exit_time is None else stamp(trip.exit_time),
                "entry_price": _price(trip.entry_price),
                "exit_price": _price(trip.exit_price),
                "gross": money(trip.gross),
                "fees": money(trip.fees),
                "funding": money(trip.funding),
                "net": money(trip.net),
                "net_return": None if trip.net_return is None else float(trip.net_return),
                "cumulative_return": float(total / start_equity) if start_equity else None,
                "bars": _bars(trip, interval),
            }
        )
    return rows


def _price(average: Decimal | None) -> str | None:
    return None if average is None else money(average.quantize(_RETURN).normalize())


def _bars(trip: RoundTrip, interval: Interval) -> int | None:
    """Count the candles it was held for; None while it is open, or where its entry is not known."""
    if trip.entry_time is None or trip.exit_time is None:
        return None
    return (interval.floor(trip.exit_time) - interval.floor(trip.entry_time)) // interval.delta


def _performance(
    interval: Interval,
    reports: Sequence[CloseReport],
    trades: Sequence[Trade],
    trips: Sequence[RoundTrip],
    start_equity: Decimal,
) -> Metrics:
    """Measure money after costs.

    `exposure_time` is the share of candles over which something was held, `annual_turnover` what was traded in a year
    over the mean equity, `slippage_return` what fills cost against the first price after their close, over the starting
    equity (it is part of the gross return).
    """
    equity = [float(report.equity) for report in reports]
    found = equity_performance(equity, float(start_equity), interval) | trade_performance(trips, start_equity)
    first_prices = {(report.close, symbol): price for report in reports for symbol, price in report.prices.items()}
    # an order of a person's belongs to no close of this run
    asked = [(trade, first_prices[at]) for trade in trades if (at := (trade.close, trade.symbol)) in first_prices]
    slipped = sum((trade.quantity * (trade.price - first) for trade, first in asked), Decimal(0))
    traded = float(sum((abs(trade.quantity) * trade.price for trade in trades), Decimal(0)))
    candles = len(reports) - 1
    mean = sum(equity) / len(equity) if equity else 0.0
    held = sum(any(report.positions.values()) for report in reports[:-1])
    return found | {
        "slippage_return": float(-slipped / start_equity) if start_equity else None,
        "exposure_time": held / candles if candles > 0 else None,
        "annual_turnover": traded / mean * interval.per_year / candles if candles > 0 and mean > 0 else None,
    }


def _before_costs(strategy: Strategy, reports: Sequence[CloseReport]) -> dict[str, Any]:
    """Measure signal times close-to-close log return, as the seeds do; the last close has no return yet.

    Of many symbols what counts is the weight held of each.
    """
    if len(strategy.symbols) != 1:
        return portfolio_metrics(reports, strategy.interval)
    (symbol,) = strategy.symbols
    prices = [report.candle_closes[symbol] for report in reports]
    signals = [_sign(report.targets.get(symbol, 0.0)) for report in reports]
    return seed_metrics(signals, prices, strategy.interval)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _one(found: Mapping[str, Any], symbols: Sequence[str]) -> Any:
    """Return the value of a strategy of one symbol bare, of several by symbol."""
    return found[symbols[0]] if len(symbols) == 1 else dict(found)


def _close(report: CloseReport, symbols: Sequence[str]) -> dict[str, Any]:
    return {
        "close": stamp(report.close),
        "forecast": _one({symbol: forecast.value for symbol, forecast in report.forecasts.items()}, symbols),
        "target": _one(report.targets, symbols),
        "position": _one({symbol: money(held) for symbol, held in report.positions.items()}, symbols),
        "equity": money(report.equity),
        "state": report.state.value,
    }


def _trade(trade: Trade) -> dict[str, Any]:
    return {
        "close": stamp(trade.close),
        "symbol": trade.symbol,
        "quantity": money(trade.quantity),
        "price": money(trade.price),
        "fee": money(trade.fee),
        "realised": money(trade.realised),
    }


def _of_many(
    reports: Sequence[CloseReport],
    trades: Sequence[Trade],
    forced: Sequence[Fill],
    bookings: Sequence[Funding],
    cleared: Mapping[str, Decimal],
    interval: Interval,
) -> dict[str, Any]:
    """Write exposures, attribution, volatility beside its forecast, and who was left out at the last close."""
    fills = [(t.close, Execution(t.symbol, t.quantity, t.price, t.fee, t.realised)) for t in trades]
    taken = [(one.time, Execution(one.symbol, one.quantity, one.price, one.fee, one.realised)) for one in forced]
    parts = shares(fills, taken, bookings, reports, cleared) if reports else []
    held = exposures(reports, fills, interval)
    forecast = [one.forecast_volatility for one in held if one.forecast_volatility is not None]
    return {
        "closes": [
            {
                "close": stamp(one.close),
                "gross": one.gross,
                "net": one.net,
                "largest": one.largest,
                "names": one.names,
                "universe": one.universe,
                "turnover": one.turnover,
                "forecast_volatility": one.forecast_volatility,
            }
            for one in held
        ],
        "attribution": {
            "total": {name: money(amount) for name, amount in by_cause(parts).items()},
            "symbols": {
                one.symbol: {
                    "fills": one.fills,
                    "traded": money(one.traded),
                    "prices": money(one.prices),
                    "slippage": money(one.slippage),
                    "fees": money(one.fees),
                    "funding": money(one.funding),
                    "other": money(one.other),
                    "net": money(one.net),
                }
                for one in parts
            },
        },
        "volatility": {
            "forecast": sum(forecast) / len(forecast) if forecast else None,
            "realised": realised_volatility([report.equity for report in reports], interval),
        },
        "excluded": dict(reports[-1].unknown) if reports else {},
    }
