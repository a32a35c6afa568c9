"""One signal, close by close and bar by bar: the plain loop behind a sweep, where positions can be taken away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trader.domain.instrument import Bracket
from trader.research.path import Bars, Floats, Path


@dataclass(frozen=True)
class Deal:
    """On what terms a sweep trades, in float.

    `exposure` is the target notional over equity, or over `capital` (in USDT) where sizing is constant. `fee` is a
    fraction of the notional, `move` half the spread plus the slippage as a fraction of the price. `reopen` closes and
    opens anew at every close. Margin is isolated at `leverage`; without one no margin is asked for and nothing is
    liquidated. An opening beyond `max_leverage` times the equity is refused, where it is set; a loss of `max_drawdown`
    from the highest equity at a close ends everything (1 never does).
    """

    equity: float = 1.0
    exposure: float = 1.0
    capital: float | None = None
    fee: float = 0.0
    move: float = 0.0
    reopen: bool = False
    leverage: float | None = None
    max_leverage: float | None = None
    max_drawdown: float = 1.0
    brackets: Sequence[Bracket] = ()

    def maintenance(self, notional: Floats) -> Floats:
        """Return the margin below which positions of these notionals are liquidated."""
        if not self.brackets:
            return np.zeros_like(notional)
        caps = np.array([float(tier.cap) for tier in self.brackets])
        tier = np.minimum(np.searchsorted(caps, notional), len(caps) - 1)
        rates = np.array([float(one.maintenance_rate) for one in self.brackets])
        amounts = np.array([float(one.maintenance_amount) for one in self.brackets])
        required: Floats = rates[tier] * notional - amounts[tier]
        return required


@dataclass(frozen=True)
class Outcome:
    """What one signal came to: equity after each close's fills, fees paid, funding received, and where it stopped."""

    equity: Floats
    fees: float
    funding: float
    stopped: int


class _Account:
    """A wallet and one isolated position, in float."""

    def __init__(self, deal: Deal) -> None:
        self.deal = deal
        self.wallet = deal.equity
        self.held = self.cost = self.margin = self.fees = self.funding = 0.0

    def worth(self, price: float) -> float:
        return self.wallet + self.held * price - self.cost

    def close(self, price: float) -> None:
        paid = price * (1 - self.deal.move) if self.held > 0 else price * (1 + self.deal.move)
        self._pay(abs(self.held) * paid)
        self.wallet += self.held * paid - self.cost
        self.held = self.cost = self.margin = 0.0

    def open(self, units: float, price: float, worth: float) -> None:
        """Open from flat, where guard and margin allow it; `worth` is the equity the guard saw."""
        deal = self.deal
        paid = price * (1 + deal.move) if units > 0 else price * (1 - deal.move)
        notional = abs(units) * paid
        margin = 0.0 if deal.leverage is None else notional / deal.leverage
        if deal.leverage is not None and margin + notional * deal.fee > self.wallet:
            return
        if deal.max_leverage is not None and abs(units) * price > deal.max_leverage * worth:
            return
        self._pay(notional)
        self.held, self.cost, self.margin = units, units * paid, margin

    def live_through(self, bars: Bars, index: int) -> bool:
        """End one bar: its worst price, its funding, the first price after it; tell whether the position was taken."""
        worst = bars.low[index] if self.held > 0 else bars.high[index]
        if self._taken(float(worst)):
            return True
        self.pay_funding(float(bars.paid[index]))
        return self._taken(float(bars.after[index]))

    def pay_funding(self, paid: float) -> None:
        self.wallet -= self.held * paid
        self.funding -= self.held * paid
        self.margin = min(self.margin, self.wallet)

    def _taken(self, price: float) -> bool:
        if self.deal.leverage is None:
            return False
        required = float(self.deal.maintenance(np.array([abs(self.held) * price]))[0])
        if self.margin + self.held * price - self.cost > required:
            return False
        self.wallet -= self.margin
        self.held = self.cost = self.margin = 0.0
        return True

    def _pay(self, notional: float) -> None:
        self.wallet -= notional * self.deal.fee
        self.fees += notional * self.deal.fee


def walk(sides: Floats, path: Path, deal: Deal) -> Outcome:
    """Backtest one signal of sides, -1, 0 or 1 at each close of the path."""
    account = _Account(deal)
    equity = np.empty(len(sides))
    peak, stopped = deal.equity, -1
    for close, (side, price) in enumerate(zip(sides.tolist(), path.prices.tolist(), strict=True)):
        if close and account.held and _play(account, path, close):
            stopped = close
        before = account.worth(price)
        peak = max(peak, before)
        if stopped < 0 and deal.max_drawdown < 1 and 1 - before / peak >= deal.max_drawdown:
            stopped = close
        if stopped >= 0:
            side = 0.0
        if account.held and (deal.reopen or side * account.held <= 0):
            account.close(price)
        if side and not account.held:
            size = deal.exposure * (before if deal.capital is None else deal.capital) / price
            if size > 0:
                account.open(side * size, price, before)
        equity[close] = account.worth(price)
    return Outcome(equity, account.fees, account.funding, stopped)


def _play(account: _Account, path: Path, close: int) -> bool:
    """Play what lies between the close before and this one; tell whether the position was taken."""
    bars = path.bars
    if bars is None:
        account.pay_funding(float(path.funding[close] - path.funding[close - 1]))
        return False
    return any(account.live_through(bars, index) for index in range(bars.at[close - 1], bars.at[close]))
