"""What moved money and positions, written once however often it is told."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from trader.domain.account import Income
from trader.domain.order import Fill
from trader.errors import JournalError
from trader.execution.reconcile import TRANSFERS, moved
from trader.journal import schema, statements
from trader.journal.queries import PAID_ELSEWHERE, PEAK, PEAK_AFTER, Reader, number

MOVED = "moved"
"""What came in or went out since the last decision, in USDT."""
_BEFORE = "trades_before_baseline"
_CENT = Decimal("0.01")


class Bookings(Reader):
    """The part of a journal that keeps trades, bookings and baselines; each method is one transaction."""

    # since when, and what: added up once, then with every new booking
    _summed: tuple[datetime, Decimal] | None = None

    def wallet(self) -> Decimal:
        """Return the realised money that the baseline and every booking since then make, in USDT."""
        begun = self.baseline()
        if self._summed is None or self._summed[0] != begun.at:
            incomes = self.incomes(since=begun.at)
            self._summed = begun.at, sum((income.amount for income in incomes), begun.wallet)
        return self._summed[1]

    def record_fills(self, fills: Iterable[Fill]) -> int:
        """Keep trades, move positions by them, and return how many were new; one told twice counts once."""
        new = 0
        with self._database.write() as connection:
            for fill in fills:
                new += self._keep_fill(connection, fill)
        return new

    def _keep_fill(self, connection: Connection, fill: Fill) -> bool:
        """Keep a trade and move its position; False where it is known."""
        values = {name: getattr(fill, name) for name in Fill.__slots__ if name != "paid"}
        if connection.execute(statements.FILL, values).rowcount != 1:
            return False
        if fill.paid is not None:
            amount, coin = fill.paid
            paid = self.paid_elsewhere()
            texted = texts(paid | {coin: paid.get(coin, Decimal(0)) + amount})
            connection.execute(statements.PUT, {"key": PAID_ELSEWHERE, "value": texted})
        self._move(connection, fill)
        return True

    def _move(self, connection: Connection, fill: Fill) -> None:
        """Add a new fill to its position; one older than the baseline is in it already."""
        row = connection.execute(statements.POSITION, {"symbol": fill.symbol}).one_or_none()
        held, cost, last = (row.quantity, row.cost, row.last_trade) if row else (Decimal(0), Decimal(0), None)
        begin = json.loads(self.get(_BEFORE) or "{}").get(fill.symbol)
        if begin is not None and number(fill.trade_id) <= number(begin):
            return
        newest = fill.trade_id if last is None else max(last, fill.trade_id, key=number)
        if newest == fill.trade_id:
            quantity, cost = moved(held, cost, fill)
        else:
            # what was before others is told late: a cost depends on the order in which they were
            quantity, cost = self._replayed(fill.symbol)
        connection.execute(
            statements.HOLD, {"symbol": fill.symbol, "quantity": quantity, "cost": cost, "last_trade": newest}
        )

    def _replayed(self, symbol: str) -> tuple[Decimal, Decimal | None]:
        """Return quantity and cost of a position as all its fills since the baseline make it, in their own order."""
        begun = self.baseline() if self.has_baseline() else None
        quantity = begun.positions.get(symbol, Decimal(0)) if begun else Decimal(0)
        cost = None if quantity else Decimal(0)
        before = number(begun.last_trades.get(symbol, "") if begun else "")
        later = [one for one in self.fills() if one.symbol == symbol and number(one.trade_id) > before]
        for one in sorted(later, key=lambda one: number(one.trade_id)):
            quantity, cost = moved(quantity, cost, one)
        return quantity, cost

    def record_incomes(self, incomes: Iterable[Income]) -> list[Income]:
        """Keep bookings and return the new ones; the same id and kind counts once.

        What was moved in or out waits until a close is decided, which knows what the equity has become.
        """
        told = list(incomes)
        if not told:
            return []
        new = []
        with self._database.write() as connection:
            for income in told:
                row = {name: getattr(income, name) for name in Income.__slots__}
                if connection.execute(statements.INCOME, row).rowcount == 1:
                    new.append(income)
            begun = self.baseline().at if self.has_baseline() else None
            moved = (one for one in new if one.kind in TRANSFERS and (begun is None or one.time >= begun))
            moved_in = sum((one.amount for one in moved), Decimal(0))
            if moved_in:
                moved_in += Decimal(self.get(MOVED) or 0)
                connection.execute(statements.PUT, {"key": MOVED, "value": format(moved_in, "f")})
        if self._summed is not None:
            at, amount = self._summed
            self._summed = at, sum((income.amount for income in new if income.time >= at), amount)
        return new

    def peak_at(self, equity: Decimal) -> Decimal:
        """Return the highest equity so far, this one included, as deposits and withdrawals have multiplied it.

        A loss stays the fraction that it was: of the peak and of the equity, the same part was moved.

        Args:
            equity: marked money in USDT of a look at which every booking so far is in the wallet.
        """
        moved_in = Decimal(self.get(MOVED) or 0)
        peak = self.peak_equity()
        return max(peak * grown(equity, moved_in) if moved_in else peak, equity)

    def _settle_peak(self, connection: Connection, peak: Decimal) -> None:
        """Keep the peak that a close was decided at, in which what was moved until then is counted."""
        connection.execute(statements.PUT, {"key": PEAK, "value": format(peak, "f")})
        connection.execute(statements.PUT, {"key": MOVED, "value": "0"})

    def set_baseline(
        self,
        *,
        wallet: Decimal,
        equity: Decimal,
        positions: Mapping[str, Decimal],
        last_trades: Mapping[str, str],
        at: datetime,
        costs: Mapping[str, Decimal] | None = None,
    ) -> None:
        """Take the account as it is for the beginning of the story; what came before no longer moves positions.

        Args:
            wallet: realised money in USDT.
            equity: marked money in USDT; the peak begins here.
            positions: signed quantities held, by symbol.
            last_trades: the newest trade id of each symbol that has one; its effect is in `positions`.
            at: venue time of all this.
            costs: what each position cost, signed like it, where that is known.
        """
        begun = json.dumps(dict(last_trades), sort_keys=True)
        baseline = {"at": at, "wallet": wallet, "equity": equity}
        with self._database.write() as connection:
            connection.execute(statements.BASELINE, baseline | {"positions": texts(positions), "last_trades": begun})
            connection.execute(statements.FORGET)
            for symbol in sorted({*positions, *last_trades}):
                held = positions.get(symbol, Decimal(0))
                cost = (costs or {}).get(symbol) if held else Decimal(0)
                connection.execute(
                    statements.HOLD,
                    {"symbol": symbol, "quantity": held, "cost": cost, "last_trade": last_trades.get(symbol)},
                )
            connection.execute(statements.PUT, {"key": _BEFORE, "value": begun})
            self._set_peak(connection, equity)

    def _set_peak(self, connection: Connection, peak: Decimal) -> None:
        newest = self.last_close()
        after = "0" if newest is None else str(schema.to_milliseconds(newest))
        connection.execute(statements.PUT, {"key": PEAK, "value": format(peak, "f")})
        connection.execute(statements.PUT, {"key": PEAK_AFTER, "value": after})
        connection.execute(statements.PUT, {"key": MOVED, "value": "0"})

    def _refusal(self, why: str) -> JournalError:
        return JournalError(f"The journal {self.path} refuses the entry: {why}; stop the daemon and report this.")


def grown(equity: Decimal, moved_in: Decimal) -> Decimal:
    """Return the factor by which money that was moved in (positive) or out has changed an equity, at least 0.

    Between two looks what was gained or lost comes before what was moved: it is of positions sized before. Where
    nothing was left before money came, that was all but lost: it does not begin anew.
    """
    return max(equity, Decimal(0)) / max(equity - moved_in, _CENT)


def texts(amounts: Mapping[str, Decimal]) -> str:
    """Write amounts by name as a JSON object of decimal texts."""
    return json.dumps({name: format(amounts[name], "f") for name in sorted(amounts)})
