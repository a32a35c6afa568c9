"""The third ledger: the money of a run worked out once more, from the raw files and the positions after each close.

It knows nothing of the backtest and nothing of the exchange: plain Decimal, one symbol, isolated margin, one walk over
the bars. At the end of a bar: its worst price against liquidation, funding stamped in (open, close] at the first price
after it, liquidation at that price. At a close: fills at that same price, moved against us; then position and equity.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path

import polars as pl

Tier = tuple[Decimal, Decimal, Decimal]
"""Notional up to which it holds, maintenance rate, amount taken off."""


def q8(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.00000001"), ROUND_HALF_EVEN)


class Account:
    def __init__(self, wallet: Decimal, fee: Decimal, move: Decimal, leverage: int, tick: Decimal) -> None:
        self.wallet, self.fee, self.move, self.leverage, self.tick = wallet, fee, move, leverage, tick
        self.held = self.cost = self.margin = Decimal(0)
        self.realised = self.fees = self.funded = Decimal(0)

    def equity(self, price: Decimal) -> Decimal:
        return self.wallet + q8(self.held * price - self.cost)

    def go_to(self, wanted: Decimal, price: Decimal, *, reopen: bool) -> None:
        """Fill towards a position: a change of side, or `reopen`, is a close and an opening, else there is one fill."""
        if reopen or self.held * wanted < 0:
            self.fill(-self.held, price)
        if wanted != self.held:
            self.fill(wanted - self.held, price)

    def fill(self, quantity: Decimal, price: Decimal) -> None:
        if quantity == 0:
            return
        side = 1 if quantity > 0 else -1
        ticks = price * (1 + side * self.move) / self.tick
        paid = ticks.to_integral_value(ROUND_CEILING if side > 0 else ROUND_FLOOR) * self.tick
        if self.held * quantity >= 0:
            self.cost += quantity * paid
            self.margin += q8(abs(quantity * paid) / self.leverage)
        else:
            whole = quantity == -self.held
            cost = self.cost if whole else q8(self.cost * abs(quantity) / abs(self.held))
            self.margin -= self.margin if whole else q8(self.margin * abs(quantity) / abs(self.held))
            self.realised += q8(-quantity * paid - cost)
            self.wallet += q8(-quantity * paid - cost)
            self.cost -= cost
        self.fees += q8(abs(quantity * paid) * self.fee)
        self.wallet -= q8(abs(quantity * paid) * self.fee)
        self.held += quantity

    def fund(self, rate: Decimal, price: Decimal) -> None:
        self.funded -= q8(self.held * price * rate)
        self.wallet -= q8(self.held * price * rate)
        self.margin = min(self.margin, self.wallet)  # what the wallet could not pay

    def liquidate(self, price: Decimal, brackets: Sequence[Tier]) -> None:
        notional = abs(self.held) * price
        rate, amount = next((rate, amount) for cap, rate, amount in brackets if notional <= cap)
        if self.held and self.margin + self.held * price - self.cost <= rate * notional - amount:
            self.wallet -= self.margin
            self.held = self.cost = self.margin = Decimal(0)


def replay(
    candles_file: Path,
    funding_file: Path | None,
    closes: Sequence[tuple[datetime, Decimal]],
    *,
    equity: Decimal,
    fee: Decimal,
    slippage: Decimal,
    spread: Decimal,
    leverage: int,
    tick: Decimal,
    brackets: Sequence[Tier],
    reopen: bool = False,
    books: list[Account] | None = None,
) -> list[tuple[Decimal, Decimal]]:
    """Return position and equity after each close; `closes` are moments and the signed positions held after them.

    The account itself is added to `books`, for whoever asks what its money was moved by.
    """
    columns = pl.read_parquet(candles_file).sort("open_time").to_dict(as_series=False)
    begins = columns["open_time"]
    begins.append(begins[-1] + (begins[-1] - begins[-2]))
    first_after = [*columns["open"], columns["close"][-1]]
    rates = None if funding_file is None else pl.read_parquet(funding_file).sort("funding_time")
    paid = [] if rates is None else rates.select("funding_time", "funding_rate").rows()
    stamps = deque(row for row in paid if row[0] > closes[0][0])
    account, wanted = Account(equity, fee, spread / 2 + slippage, leverage, tick), dict(closes)
    told: list[tuple[Decimal, Decimal]] = []
    for index in range(begins.index(closes[0][0]), begins.index(closes[-1][0]) + 1):
        now, price = begins[index], Decimal(repr(first_after[index]))
        if account.held:
            worst = columns["low" if account.held > 0 else "high"][index - 1]
            account.liquidate(Decimal(repr(worst)), brackets)
        while stamps and stamps[0][0] <= now:
            account.fund(Decimal(repr(stamps.popleft()[1])), price)
        account.liquidate(price, brackets)
        if now in wanted:
            account.go_to(wanted[now], price, reopen=reopen)
            told.append((account.held, account.equity(price)))
    if books is not None:
        books.append(account)
    return told
