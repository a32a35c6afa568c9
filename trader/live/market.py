"""What the exchange tells of the market at one close: candles, funding, today's rules, and of which symbols nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from trader.decide import Strategy
from trader.domain.account import Account
from trader.domain.decision import Forecast
from trader.domain.instrument import Instrument
from trader.errors import ConfigError, ExchangeError
from trader.live.ports import Clock, Gateway
from trader.market.funding import settled, with_funding

_LONGEST = timedelta(hours=24)
# funding is told some seconds after its stamp
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8))
_FEW = 10
"""One symbol in so many may fail by itself; of more it is the exchange that does."""
_ENDING = frozenset({"PRE_SETTLE", "SETTLING", "PRE_DELIVERING", "DELIVERING", "DELIVERED", "CLOSE"})
"""Statuses after which a symbol is never traded again."""


@dataclass(frozen=True, slots=True)
class Market:
    """One close: the candles that end there, rules where they are listed, and by name of what nothing is known.

    `candles` knows the funding of its last candle where the strategy reads it.
    """

    candles: pl.DataFrame
    rules: Mapping[str, Instrument]
    unknown: Mapping[str, str]


class Lookout:
    """Look at the market at a close.

    Args:
        strategy: says which symbols it is about.
        gateway: is asked.
        clock: the venue's.
    """

    def __init__(self, strategy: Strategy, gateway: Gateway, clock: Clock) -> None:
        self._strategy = strategy
        self._gateway = gateway
        self._clock = clock

    async def look(self, close: datetime) -> Market:
        """Return the market at a close; what cannot be used of one symbol of many is unknown, and never filled.

        Raises:
            DataError: the candles of a symbol that is needed, or of all, are not usable.
            ExchangeError: the exchange could not be used, or has not published the close yet.
        """
        strategy = self._strategy
        rules: Mapping[str, Instrument] = {}
        unknown: Mapping[str, str] = {}
        if not strategy.symbols:
            rules, unknown = await self._gateway.listed()
        symbols = strategy.universe([symbol for symbol, one in rules.items() if self._has_candle(one, close)])
        if not symbols:
            raise ConfigError(
                f"The exchange trades no symbol that {strategy.name} may hold; see `exclude` in its file."
            )
        candles, left_out = await self._gateway.candles(symbols, strategy.interval, strategy.warmup, strategy.least)
        newest = candles.group_by("symbol").agg(pl.col("close_time").max())["close_time"]
        if newest.len() + len(left_out) != len(symbols) or (newest != close).any():
            raise ExchangeError(
                f"The exchange has not published every candle that closes at {close.isoformat()} (newest "
                f"{newest.max()!s}); they are asked for again while the close is young enough to be decided."
            )
        found = Market(candles, rules, {**unknown, **left_out})
        return await self._funded(found, close) if strategy.funded else found

    def _has_candle(self, rules: Instrument, close: datetime) -> bool:
        """Whether a symbol has a candle that ends at a close, and may be held until the next one.

        One that has just ended is still ranked by its last candle, if that is a whole one; one that is to end before
        the next close is in no universe any more, so that it is sold while it can be.
        """
        if rules.trading:
            listed = rules.begins is None or rules.begins < close
            return listed and (rules.ends is None or rules.ends > close + self._strategy.interval.delta)
        return rules.status in _ENDING and rules.ends == close

    async def _funded(self, market: Market, close: datetime) -> Market:
        """Join what funding came to in the last candle, which is told a little after its stamps."""
        last = market.candles.filter(pl.col("close_time") == close)
        since = close - self._strategy.interval.delta - _LONGEST
        symbols = last["symbol"].to_list()
        stamps = await self._gateway.funding_paid(symbols, since)
        for pause in _PAUSES:
            if not with_funding(last, stamps)["funding_rate"].null_count():
                break
            await self._clock.sleep_until(self._clock.now() + pause)
            stamps = await self._gateway.funding_paid(symbols, since)
        told = with_funding(last, stamps)
        blind = told.filter(pl.col("funding_rate").is_null())["symbol"].to_list()
        expected = last.filter(settled(last, stamps))["symbol"].to_list()
        late = set(blind).intersection(expected)
        if len(blind) == len(told):
            raise ExchangeError(
                f"The exchange has not told any funding up to {close.isoformat()} yet; it is asked for again while the "
                "close is young enough to be decided."
            )
        if 2 * len(late) > len(expected) and _FEW * len(late) > len(told):
            raise ExchangeError(
                f"The exchange has not told the funding of {len(late)} of {len(told)} symbols that is stamped "
                f"at {close.isoformat()} yet; it is asked for again while the close is young enough to be decided."
            )
        joined = market.candles.join(
            told.select("symbol", "close_time", "funding_rate"), on=["symbol", "close_time"], how="left",
            maintain_order="left",
        )  # fmt: skip
        why = f"its funding up to {close:%Y-%m-%dT%H:%MZ} is not known"
        return replace(market, candles=joined, unknown={**market.unknown, **dict.fromkeys(blind, why)})

    async def quoted(
        self, market: Market, account: Account, forecasts: Mapping[str, Forecast]
    ) -> tuple[Market, Mapping[str, Decimal]]:
        """Return the market with the rules of all that may be traded at this close, and the first prices after it.

        What cannot be traded now is unknown; what is held of it, and has no price, is marked at what the account says.

        Raises:
            ExchangeError: the exchange could not be used, or tells no price at all.
        """
        fixed = self._strategy.symbols
        held = {symbol: one for symbol, one in account.positions.items() if one.quantity}
        wanted = fixed or sorted({*forecasts, *held})
        told = await self._gateway.prices(wanted)
        listed = await self._gateway.instruments(fixed) if fixed else market.rules
        marks = {
            symbol: one.entry_price + one.unrealised / one.quantity for symbol, one in held.items() if symbol in wanted
        }
        unknown = dict(market.unknown)
        for symbol in wanted:
            # whether one that the strategy names may be traded is for the guards to say
            why = _untradable(listed.get(symbol), told.get(symbol)) if not fixed or symbol not in told else None
            if why is not None:
                unknown.setdefault(symbol, why)
        rules = {symbol: listed[symbol] for symbol in wanted if symbol in listed}
        return Market(market.candles, rules, unknown), {**marks, **told}


def _untradable(rules: Instrument | None, price: Decimal | None) -> str | None:
    """Say why a symbol can be neither bought nor sold at this close, None where it can."""
    if rules is None:
        return "the exchange tells no rules of it any more"
    if not rules.trading and rules.status not in _ENDING:
        return f"it is {rules.status} and cannot be traded now"
    return "its mark price is not told" if price is None else None
