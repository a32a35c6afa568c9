"""A decision and everything it was made from, as text that replays to the same decision bit for bit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from trader.decide import Strategy, decide
from trader.domain.decision import Book, Decision, Forecast, Leg, Limits, Refusal, State
from trader.domain.instrument import Bracket, Instrument
from trader.errors import DataError
from trader.live.blocks import joined, paid_of

_TIMES = ("open_time", "close_time")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one close was decided on: the candle window, the book, the limits, and which strategy and model."""

    close: datetime
    candles: pl.DataFrame
    book: Book
    limits: Limits
    strategy: str
    model: str


def encode_inputs(inputs: Inputs, without: Sequence[str] = ()) -> str:
    """Write inputs as canonical JSON: floats in their shortest exact form, money as strings, times as milliseconds.

    The candles are kept beside it, as `blocks.cut` cuts them; `without` are symbols in those texts that are not meant.
    """
    paid = paid_of(inputs.candles)
    return _dump(
        {
            "close": _milliseconds(inputs.close),
            **({} if paid is None else {"paid": paid}),
            **({"without": list(without)} if without else {}),
            "book": _encode_book(inputs.book),
            "limits": {name: _text(getattr(inputs.limits, name)) for name in Limits.__slots__},
            "strategy": inputs.strategy,
            "model": inputs.model,
        }
    )


def decode_inputs(text: str, blocks: Sequence[str] = ()) -> Inputs:
    """Read what `encode_inputs` wrote; no candles without their texts, unless it is of an older form."""
    raw = json.loads(text)
    limits = {name: None if value is None else Decimal(value) for name, value in raw["limits"].items()}
    return Inputs(
        close=_moment(raw["close"]),
        candles=_candles(raw, blocks),
        book=_decode_book(raw["book"]),
        limits=Limits(**limits),  # type: ignore[arg-type]  # the names are its own
        strategy=raw["strategy"],
        model=raw["model"],
    )


def decode_positions(text: str) -> dict[str, Decimal]:
    """Read only what was held, by symbol, of what `encode_inputs` wrote."""
    return {symbol: Decimal(quantity) for symbol, quantity in json.loads(text)["book"]["positions"].items()}


def decode_candles(text: str, blocks: Sequence[str]) -> pl.DataFrame:
    """Read only the candle window of what `encode_inputs` wrote."""
    return _candles(json.loads(text), blocks)


def _candles(raw: Mapping[str, Any], blocks: Sequence[str]) -> pl.DataFrame:
    if "candles" in raw:
        return _decode_frame(raw["candles"])
    return joined(blocks, raw.get("without", ()), raw.get("paid"))


def encode_decision(decision: Decision) -> str:
    """Write a decision as canonical JSON."""
    return _dump(
        {
            "close": _milliseconds(decision.close),
            "forecasts": {symbol: _encode_forecast(one) for symbol, one in decision.forecasts.items()},
            "targets": dict(decision.targets),
            "quantities": {symbol: str(quantity) for symbol, quantity in decision.quantities.items()},
            "legs": [_encode_leg(leg) for leg in decision.legs],
            "refusals": [[_encode_leg(r.leg), r.guard, r.reason] for r in decision.refusals],
            "state": decision.state.value,
            "why": decision.why,
        }
    )


def decode_decision(text: str) -> Decision:
    """Read what `encode_decision` wrote."""
    raw = json.loads(text)
    return Decision(
        close=_moment(raw["close"]),
        forecasts={symbol: Forecast(*values) for symbol, values in raw["forecasts"].items()},
        targets=raw["targets"],
        quantities={symbol: Decimal(quantity) for symbol, quantity in raw["quantities"].items()},
        legs=tuple(_decode_leg(leg) for leg in raw["legs"]),
        refusals=tuple(Refusal(_decode_leg(leg), guard, reason) for leg, guard, reason in raw["refusals"]),
        state=State(raw["state"]),
        why=raw["why"],
    )


def last_forecasts(frame: pl.DataFrame, close: datetime) -> dict[str, Forecast]:
    """Pick the forecasts made at one close.

    Raises:
        DataError: there is none, so the candles end before the close or are too few.
    """
    rows = frame.filter(pl.col("close_time") == close)
    if rows.is_empty():
        raise DataError(
            f"No forecast at {close.isoformat()}: the candles end before it or are fewer than the model's warm-up; "
            "wait for the next close, or check the exchange's history."
        )
    return {row["symbol"]: forecast_of(row) for row in rows.iter_rows(named=True)}


def forecast_of(row: Mapping[str, Any]) -> Forecast:
    """Return what one row of a forecaster's frame says."""
    return Forecast(row["forecast"], row["confidence"], row.get("volatility"), row.get("spread"))


def recompute(strategy: Strategy, inputs: Inputs) -> Decision:
    """Decide again from journalled inputs."""
    forecasts = last_forecasts(strategy.forecast(inputs.candles), inputs.close)
    return decide(strategy, inputs.close, forecasts, inputs.book, inputs.limits)


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _encode_forecast(forecast: Forecast) -> list[float]:
    """Write what a forecast says: two numbers, of a portfolio four."""
    said = [forecast.value, forecast.confidence]
    if forecast.volatility is not None and forecast.spread is not None:
        said += [forecast.volatility, forecast.spread]
    return said


def _encode_leg(leg: Leg) -> list[str]:
    return [leg.symbol, str(leg.quantity), leg.kind, *([] if leg.limit is None else [str(leg.limit)])]


def _decode_leg(raw: list[str]) -> Leg:
    symbol, quantity, kind, *limit = raw
    return Leg(symbol, Decimal(quantity), kind, Decimal(limit[0]) if limit else None)


def _decode_frame(columns: Mapping[str, list[Any]]) -> pl.DataFrame:
    """Read a candle frame that was written into the inputs themselves, as decisions before blocks were."""
    types: dict[str, Any] = dict.fromkeys(columns, pl.Float64) | {"symbol": pl.String} | dict.fromkeys(_TIMES, pl.Int64)
    frame = pl.DataFrame(dict(columns), schema={name: types[name] for name in columns})
    return frame.with_columns(
        pl.from_epoch(name, "ms").dt.cast_time_unit("ms").dt.replace_time_zone("UTC") for name in _TIMES
    )


def _encode_book(book: Book) -> dict[str, Any]:
    return {
        "equity": str(book.equity),
        "peak_equity": str(book.peak_equity),
        "positions": {symbol: str(quantity) for symbol, quantity in book.positions.items()},
        "prices": {symbol: str(price) for symbol, price in book.prices.items()},
        "instruments": {symbol: _encode_instrument(one) for symbol, one in book.instruments.items()},
        "state": book.state.value,
        "day_equity": _text(book.day_equity),
        "orders_today": book.orders_today,
        "funding_rates": {symbol: str(rate) for symbol, rate in book.funding_rates.items()},
        **({"unknown": dict(book.unknown)} if book.unknown else {}),
        "unrealised": None if book.unrealised is None else {name: str(one) for name, one in book.unrealised.items()},
    }


def _decode_book(raw: Mapping[str, Any]) -> Book:
    profit: Mapping[str, str] | None = raw.get("unrealised")
    return Book(
        equity=Decimal(raw["equity"]),
        peak_equity=Decimal(raw["peak_equity"]),
        positions={symbol: Decimal(quantity) for symbol, quantity in raw["positions"].items()},
        prices={symbol: Decimal(price) for symbol, price in raw["prices"].items()},
        instruments={symbol: _decode_instrument(one) for symbol, one in raw["instruments"].items()},
        state=State(raw["state"]),
        day_equity=None if raw.get("day_equity") is None else Decimal(raw["day_equity"]),
        orders_today=raw.get("orders_today", 0),
        funding_rates={symbol: Decimal(rate) for symbol, rate in raw.get("funding_rates", {}).items()},
        unknown=raw.get("unknown", {}),
        unrealised=None if profit is None else {symbol: Decimal(one) for symbol, one in profit.items()},
    )


def _encode_instrument(one: Instrument) -> list[Any]:
    amounts = (one.tick, one.step, one.min_quantity, one.max_quantity, one.min_notional)
    tiers = [
        [str(b.floor), str(b.cap), b.max_leverage, str(b.maintenance_rate), str(b.maintenance_amount)]
        for b in one.brackets
    ]
    bounds = (one.multiplier_up, one.multiplier_down, one.min_price, one.max_price)
    return [one.symbol, one.status, *map(str, amounts), tiers, *map(str, bounds), one.max_orders]


def _decode_instrument(raw: list[Any]) -> Instrument:
    """Read what `_encode_instrument` wrote, now or when there were no brackets or no bounds in it."""
    symbol, status, *rest = raw
    tick, step, smallest, largest, notional = (Decimal(amount) for amount in rest[:5])
    tiers = (
        Bracket(Decimal(floor), Decimal(cap), leverage, Decimal(rate), Decimal(amount))
        for tier in rest[5:6]
        for floor, cap, leverage, rate, amount in tier
    )
    rules = Instrument(symbol, status, tick, step, smallest, largest, notional, tuple(tiers))
    if len(rest) < 7:
        return rules
    up, down, cheapest, dearest = (Decimal(amount) for amount in rest[6:10])
    return replace(
        rules, multiplier_up=up, multiplier_down=down, min_price=cheapest, max_price=dearest, max_orders=rest[10]
    )
