"""What one close decides, and what it was decided on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from trader.domain.instrument import Instrument

Rebalance = Literal["drift", "every_close"]
"""When an unchanged side is traded: once it has drifted beyond the band, or at every close, closed and opened anew."""


class State(StrEnum):
    """What the daemon may do: everything, only reduce, or open nothing until a person resumes it.

    Halted it sends nothing, except what closes a position whose drawdown is at its limit, or what a person asked for.
    """

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


STRICTNESS = {State.ACTIVE: 0, State.REDUCING: 1, State.HALTED: 2}
"""How little each state allows, as a number."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a forecaster says of a symbol at a close.

    `value` is the next candle's log return, of a cross-section the score against the other symbols; `confidence` the
    probability that its sign is right, 0 where nobody knows it. A portfolio also reads the `volatility` (standard
    deviation a candle) and the `spread` (a fraction of the price).
    """

    value: float
    confidence: float
    volatility: float | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """What is known of the account at a close.

    `equity` is marked at `prices`, the first prices after the close; `peak_equity` is the highest equity so far, this
    one included; `positions` are signed quantities, absent where flat. `day_equity` is the equity at the last close
    before this UTC day began, None where there was none; `orders_today` counts orders of earlier closes of this UTC
    day; `funding_rates` are those of the next stamp, positive where longs pay. Peak and day's equity are net of
    deposits and withdrawals. `unknown` says of which symbols nothing can be said at this close, and why: what is held
    of them stays as it is. `unrealised` is the profit of each position within the equity, None where it is not known.
    """

    equity: Decimal
    peak_equity: Decimal
    positions: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    instruments: Mapping[str, Instrument]
    state: State
    day_equity: Decimal | None = None
    orders_today: int = 0
    funding_rates: Mapping[str, Decimal] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    unrealised: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What guards allow.

    `max_drawdown` is a fraction of peak equity (1 never trips); `max_leverage` bounds the notional of all positions
    over equity; `max_notional` bounds a position's in USDT, and `max_position` in units of base, where they are set.
    `max_daily_loss` is a fraction of the equity the day began with (1 never trips); `max_orders` bounds orders a UTC
    day; `min_liquidation_distance` is how far the liquidation price must be, and `max_funding` what the next funding
    may cost, as fractions of the price and of equity. `canary_notional` is the gross notional in USDT to which sizes
    are cut, and beyond which nothing is opened, while a strategy is on trial. Where `max_slippage` is set, as a
    fraction of the mark price, no planned order may pay a worse price. `cost` is what trading is expected to take of a
    notional: fee, half the spread and slippage. `protective_stop` is how far the price may move against the average
    entry price, as a fraction of it, until the exchange closes the position.
    """

    max_drawdown: Decimal
    max_leverage: Decimal
    max_notional: Decimal | None = None
    max_position: Decimal | None = None
    max_daily_loss: Decimal = Decimal(1)
    max_orders: int | None = None
    min_liquidation_distance: Decimal | None = None
    max_funding: Decimal | None = None
    canary_notional: Decimal | None = None
    max_slippage: Decimal | None = None
    cost: Decimal = Decimal(0)
    protective_stop: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Margin:
    """How the exchange secures a position: its leverage setting, and whether each position has its own margin."""

    leverage: int
    isolated: bool


@dataclass(frozen=True, slots=True)
class Leg:
    """One step towards a target: a signed quantity in whole steps, and why it is sent.

    `kind` is `c` close, `r` reduce, `o` open, `i` increase or `f` flatten; all but opening and increasing only reduce.
    `limit` is the worst price it may pay, None for a market order.
    """

    symbol: str
    quantity: Decimal
    kind: str
    limit: Decimal | None = None

    @property
    def reduce_only(self) -> bool:
        """Whether it may only make the position smaller."""
        return self.kind in "crf"

    def reaches(self, held: Decimal) -> Decimal:
        """Return the position once it is filled; what would pass zero is not filled where it only reduces."""
        after = held + self.quantity
        return Decimal(0) if self.reduce_only and after * held < 0 else after


@dataclass(frozen=True, slots=True)
class Refusal:
    """A leg a guard refused, with the guard's name and its reason in words."""

    leg: Leg
    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One close's whole decision.

    `targets` are signed fractions of equity (of the strategy's capital where it has one), `quantities` the absolute
    positions to reach in base, `legs` what is to be sent in this order, `state` what the daemon is to be from now on,
    `why` the reason in words.
    """

    close: datetime
    forecasts: Mapping[str, Forecast]
    targets: Mapping[str, float]
    quantities: Mapping[str, Decimal]
    legs: tuple[Leg, ...]
    refusals: tuple[Refusal, ...]
    state: State
    why: str


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What one close came to: after its fills, marked at the first prices after it.

    `positions` are signed quantities, `prices` those first prices as the decision saw them, `candle_closes` the close
    prices of the candles decided on, `unknown` of which symbols nothing could be said, and why.
    """

    close: datetime
    forecasts: Mapping[str, Forecast]
    targets: Mapping[str, float]
    positions: Mapping[str, Decimal]
    equity: Decimal
    prices: Mapping[str, Decimal]
    candle_closes: Mapping[str, float]
    state: State
    why: str
    unknown: Mapping[str, str] = field(default_factory=dict)
