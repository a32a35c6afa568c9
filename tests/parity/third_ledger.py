"""The third ledger: the money of a run worked out once more, from the raw files and the positions after each close.

It knows nothing of the backtest and nothing of the exchange: plain Decimal, isolated or cross margin, one walk over
the bars of all symbols. At the end of a bar: worst prices against liquidation, funding stamped in (open, close] at the
first price after it, liquidation at that price. At a close: fills at that same price, moved against us; then what is
held, and equity. A symbol whose bars have ended keeps its last close and pays no funding.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

Tier = tuple[Decimal, Decimal, Decimal]
"""Notional up to which it holds, maintenance rate, amount taken off."""
Held = TypeVar("Held", Decimal, Mapping[str, Decimal])
ZERO = Decimal(0)


def q8(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.00000001"), ROUND_HALF_EVEN)


def exact(number: float) -> Decimal:
    """A price or rate in the eight decimals an exchange states; what a file has beyond them is noise."""
    return Decimal(repr(round(number, 8)))


class Bars:
    """The bars of one symbol, and its funding stamps that are still to come."""

    def __init__(self, rows: pl.DataFrame, paid: list[tuple[datetime, float]], tick: Decimal | None) -> None:
        self.columns: dict[str, list[Any]] = rows.sort("open_time").to_dict(as_series=False)
        self.begins = {begin: number for number, begin in enumerate(self.columns["open_time"])}
        self.last, self.stamps = exact(self.columns["close"][-1]), deque(sorted(paid))
        prices = [exact(price) for name in ("open", "high", "low", "close") for price in self.columns[name]]
        finest = min(price.normalize().as_tuple().exponent for price in prices)  # type: ignore[type-var]
        self.tick = Decimal(1).scaleb(min(int(finest), 0)) if tick is None else tick

    def price(self, moment: datetime, column: str = "open") -> Decimal:
        number = self.begins.get(moment)
        return self.last if number is None else exact(self.columns[column][number])


class Position:
    def __init__(self) -> None:
        self.held = self.cost = self.margin = ZERO

    def worth(self, price: Decimal) -> Decimal:
        return self.held * price - self.cost

    def required(self, price: Decimal, brackets: Sequence[Tier]) -> Decimal:
        notional = abs(self.held) * price
        rate, amount = next((rate, amount) for cap, rate, amount in brackets if notional <= cap)
        return rate * notional - amount


class Account:
    def __init__(self, wallet: Decimal, fee: Decimal, move: Decimal, leverage: int, *, cross: bool) -> None:
        self.wallet, self.fee, self.move, self.leverage, self.cross = wallet, fee, move, leverage, cross
        self.open: dict[str, Position] = {}
        self.realised = self.fees = self.funded = ZERO

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        return self.wallet + sum((q8(one.worth(prices[symbol])) for symbol, one in self.open.items()), ZERO)

    def go_to(self, symbol: str, wanted: Decimal, price: Decimal, tick: Decimal, *, reopen: bool) -> None:
        """Fill towards a position: a change of side, or `reopen`, is a close and an opening, else there is one fill."""
        held = self.open[symbol].held if symbol in self.open else ZERO
        if held and (reopen or held * wanted < 0):
            self.fill(symbol, -held, price, tick)
            held = ZERO
        if wanted != held:
            self.fill(symbol, wanted - held, price, tick)

    def fill(self, symbol: str, quantity: Decimal, price: Decimal, tick: Decimal) -> None:
        side, one = (1 if quantity > 0 else -1), self.open.setdefault(symbol, Position())
        ticks = price * (1 + side * self.move) / tick
        paid = ticks.to_integral_value(ROUND_CEILING if side > 0 else ROUND_FLOOR) * tick
        if one.held * quantity >= 0:
            one.cost += quantity * paid
            one.margin += ZERO if self.cross else q8(abs(quantity * paid) / self.leverage)
        else:
            whole = quantity == -one.held
            cost = one.cost if whole else q8(one.cost * abs(quantity) / abs(one.held))
            one.margin -= one.margin if whole else q8(one.margin * abs(quantity) / abs(one.held))
            self.realised += q8(-quantity * paid - cost)
            self.wallet += q8(-quantity * paid - cost)
            one.cost -= cost
        self.fees += q8(abs(quantity * paid) * self.fee)
        self.wallet -= q8(abs(quantity * paid) * self.fee)
        one.held += quantity
        if one.held == 0:
            del self.open[symbol]

    def fund(self, symbol: str, rate: Decimal, price: Decimal) -> None:
        paid = q8(self.open[symbol].held * price * rate)
        self.funded -= paid
        self.wallet -= paid
        if not self.cross:  # what the wallet could not pay
            bound = sum((one.margin for one in self.open.values()), ZERO)
            self.open[symbol].margin -= max(bound - self.wallet, ZERO)

    def liquidate(self, prices: Mapping[str, Decimal], brackets: Sequence[Tier]) -> None:
        if self.cross:
            backing = self.wallet + sum((one.worth(prices[symbol]) for symbol, one in self.open.items()), ZERO)
            if self.open and backing <= sum((o.required(prices[s], brackets) for s, o in self.open.items()), ZERO):
                self.wallet, self.open = ZERO, {}
            return
        for symbol, one in list(self.open.items()):
            if one.margin + one.worth(prices[symbol]) <= one.required(prices[symbol], brackets):
                self.wallet -= one.margin
                del self.open[symbol]


def read(candles_file: Path, funding_file: Path | None, tick: Decimal | None) -> tuple[list[datetime], dict[str, Bars]]:
    """Return the grid of all bars, the end of the last one included, and the bars of every symbol ("" if unnamed)."""
    rows = pl.read_parquet(candles_file)
    rows = rows if "symbol" in rows.columns else rows.with_columns(symbol=pl.lit(""))
    times = rows["open_time"].unique().sort().to_list()
    length = times[1] - times[0]
    stamped = pl.DataFrame({"symbol": [], "funding_time": [], "funding_rate": []})
    if funding_file is not None:
        stamped = pl.read_parquet(funding_file)
    elif "funding_rate" in rows.columns:
        stamped = rows.with_columns(funding_time=pl.col("open_time") + length).drop_nulls("funding_rate")
    paid: dict[str, list[tuple[datetime, float]]] = {}
    for row in stamped.iter_rows(named=True):
        minute = row["funding_time"].replace(second=0, microsecond=0)
        paid.setdefault(row.get("symbol", ""), []).append((minute, row["funding_rate"]))
    found = {}
    for (symbol,), own in rows.partition_by("symbol", as_dict=True).items():
        ends = own["open_time"].max() + length
        unnamed = [] if symbol in paid else paid.get("", [])
        found[symbol] = Bars(own, [one for one in paid.get(symbol, unnamed) if one[0] <= ends], tick)
    return [*times, times[-1] + length], found


def replay(
    candles_file: Path,
    funding_file: Path | None,
    closes: Sequence[tuple[datetime, Held]],
    *,
    equity: Decimal,
    fee: Decimal,
    slippage: Decimal,
    spread: Decimal,
    leverage: int,
    brackets: Sequence[Tier],
    tick: Decimal | None = None,
    reopen: bool = False,
    cross: bool = False,
    books: list[Account] | None = None,
) -> list[tuple[Held, Decimal]]:
    """Return what is held and equity after each close; `closes` are moments and what is held after them.

    That is a signed position on a tape of one symbol, or positions by symbol. Without a tick it is the finest decimal
    of a symbol's prices. The account itself is added to `books`, for whoever asks what its money was moved by.
    """
    times, bars = read(candles_file, funding_file, tick)
    (alone, *_) = bars
    account, wanted = Account(equity, fee, spread / 2 + slippage, leverage, cross=cross), dict(closes)
    for one in bars.values():
        one.stamps = deque(stamp for stamp in one.stamps if stamp[0] > closes[0][0])
    told: list[tuple[Held, Decimal]] = []
    for index in range(times.index(closes[0][0]), times.index(closes[-1][0]) + 1):
        now = times[index]
        prices = {symbol: bars[symbol].price(now) for symbol in account.open}
        sides = {symbol: "low" if one.held > 0 else "high" for symbol, one in account.open.items()}
        account.liquidate({s: bars[s].price(times[index - 1], side) for s, side in sides.items()}, brackets)
        for symbol, one in bars.items():
            while one.stamps and one.stamps[0][0] <= now:
                _, rate = one.stamps.popleft()
                if symbol in account.open:
                    account.fund(symbol, exact(rate), prices[symbol])
        account.liquidate(prices, brackets)
        if now in wanted:
            goal = wanted[now]
            goals: Mapping[str, Decimal] = {alone: goal} if isinstance(goal, Decimal) else goal
            for symbol in sorted({*account.open, *goals}):
                this = bars[symbol]
                account.go_to(symbol, goals.get(symbol, ZERO), this.price(now), this.tick, reopen=reopen)
            held: Any = {symbol: one.held for symbol, one in account.open.items()}
            marks = {symbol: bars[symbol].price(now) for symbol in account.open}
            told.append((held.get(alone, ZERO) if isinstance(goal, Decimal) else held, account.equity(marks)))
    if books is not None:
        books.append(account)
    return told
