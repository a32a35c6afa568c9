"""Play one account through the tape: bars, funding and liquidation in Decimal, without clock, socket or disk.

At every bar boundary B (bar [A, B) ends) in this order: the ended bar's prices reach resting and conditional orders;
its worst price against liquidation; the funding stamps in (A, B] at the first price after B; the liquidation test at
that price; what that price itself reaches.
"""

from trader.sim import bars, forced
from trader.sim.floor import Floor
from trader.sim.money import q8


class Venue(Floor):
    """Let time pass on a floor. All methods are synchronous."""

    def play(self, until: int) -> None:
        """Play every bar boundary in (now, until], then stand at ``until``."""
        spacing = self.tape.spacing
        while self.account.positions or bars.waiting(self):
            boundary = (self.now // spacing + 1) * spacing
            if boundary > until:
                break
            self.now = boundary
            self._settle(boundary - spacing, boundary)
        self.now = max(self.now, until)

    def _settle(self, opened: int, boundary: int) -> None:
        series = self.tape.series
        waiting = bars.waiting(self)
        if waiting:
            bars.ended(self, opened)
        forced.liquidate(self, lambda position: series[position.symbol].worst(opened, position.quantity > 0))
        self._fund(opened, boundary)
        forced.liquidate(self, lambda position: self.price(position.symbol))
        if waiting:
            bars.gap(self)

    def _fund(self, opened: int, boundary: int) -> None:
        due = [
            (stamp, index, position, rate)
            for index, position in enumerate(self.account.positions.values())
            for stamp, rate in self.tape.series[position.symbol].due(opened, boundary)
        ]
        for _, _, position, rate in sorted(due, key=lambda each: each[:2]):
            amount = q8(position.quantity * self.price(position.symbol) * rate)
            if amount == 0:
                continue
            self.pay(position.symbol, "FUNDING_FEE", -amount)
            shortfall = self.account.isolated() - self.account.wallet
            if shortfall > 0 and self.account.setting(position.symbol).isolated:
                position.margin -= shortfall
