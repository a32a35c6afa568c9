"""The document that a finished run and a backtest share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from trader.decide import Strategy
from trader.domain.decision import CloseReport
from trader.research.metrics import seed_metrics

_RETURN = Decimal("1e-12")


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
    funding: Decimal,
    generated: bool,
) -> dict[str, Any]:
    """Write closes, trades and metrics as the command line promises them.

    Args:
        strategy: whose closes these are.
        reports: one a close, in order.
        trades: fills in order.
        start_equity: equity before the first close.
        fees: what was paid to the exchange, in USDT.
        funding: what was received (negative: paid), in USDT.
        generated: whether the market was a generated one.
    """
    symbols = strategy.symbols
    end_equity = reports[-1].equity if reports else start_equity
    traded = sum((abs(trade.quantity) * trade.price for trade in trades), Decimal(0))
    mean_equity = sum((report.equity for report in reports), Decimal(0)) / len(reports) if reports else start_equity
    metrics = _before_costs(strategy, reports) | {
        "turnover": float(traded / mean_equity) if mean_equity else 0.0,
        "fees": money(fees),
        "funding": money(funding),
        "net_return": money((end_equity / start_equity - 1).quantize(_RETURN)) if start_equity else "0",
    }
    found: dict[str, Any] = {
        "strategy": strategy.name,
        "closes": [_close(report, symbols) for report in reports],
        "trades": [_trade(trade) for trade in trades],
        "metrics": metrics,
    }
    return found | ({"generated": True} if generated else {})


def money(amount: Decimal) -> str:
    """Write an amount of money or a quantity without an exponent and without idle zeros."""
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _before_costs(strategy: Strategy, reports: Sequence[CloseReport]) -> dict[str, Any]:
    """Measure signal times close-to-close log return, as the seeds do; the last close has no return yet."""
    symbol = strategy.symbols[0]
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


def stamp(moment: datetime) -> str:
    """Write a time as UTC ISO 8601."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
