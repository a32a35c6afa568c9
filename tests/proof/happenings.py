"""What happens to account, operator and network beside the daemon: the events of a plan, carried out at its steps."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.proof.odd import answer_in, is_outage
from tests.proof.plan import STOP, argument
from tests.proof.stage import Stage
from tests.proof.timeline import Timeline
from trader.sim.exchange import Exchange

FAR = "0.47"
"""A price that the market of the proof never reaches."""


@dataclass(frozen=True)
class Asked:
    """What somebody asked for: its number, the step just before it, the newest state then, and when."""

    number: int
    kind: str
    step: int
    seen: int
    at: int


class Happenings:
    """Carries out events, and remembers what a judge has to know of them."""

    def __init__(
        self, stage: Stage, exchange: Exchange, time: Timeline, step: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        self.asked: list[Asked] = []
        self.outages: list[tuple[str, int, int]] = []
        self._burning_once = False
        self._stage = stage
        self._exchange = exchange
        self._time = time
        self._step = step
        self._wake = wake

    def happen(self, kind: str) -> None:
        """Let an event happen now."""
        name, number = argument(kind)
        if is_outage(kind):
            now = self._time.now()
            self.outages.append((kind, now, now + round((number or 0) * 1000)))
        elif name.startswith("hand"):
            self._by_hand(name, Decimal(int(number or 0)))
        elif not self._asked_for(name) and not self._of_this_machine(name, number):
            self._abroad(name, number)

    def _by_hand(self, name: str, quantity: Decimal) -> None:
        """Let somebody else trade on the same account, or leave an order that rests."""
        if name == "hand_rest":
            self._trade(quantity, type="LIMIT", price=FAR, timeInForce="GTC")
            return
        self._trade(quantity)
        if name == "hand_round":
            self._trade(-quantity)

    def _asked_for(self, name: str) -> bool:
        """Ask for what a word names, in its order; what is found meanwhile is no request. False where it names none."""
        words = name.split("_")
        if words[0] not in ("halt", "flatten", "resume"):
            return False
        for word in words:
            if word in ("adl", "liquidate"):
                self._outside(do=word, symbol=self._stage.symbols[0])
            else:
                self.ask(word)
        return True

    def _of_this_machine(self, name: str, number: float | None) -> bool:
        """Set its clock, let it sleep, or wake the daemon; False where it is something else."""
        match name:
            case "clock":
                self._time.skew += timedelta(seconds=number or 0)
            case "suspend":
                self._time.suspend(number or 0)
            case "wake":
                self._wake()
            case _:
                return False
        return True

    def _abroad(self, name: str, number: float | None) -> None:
        """Change account or exchange."""
        symbol = self._stage.symbols[0]
        match name:
            case "deposit":
                self._outside(do="transfer", amount=number)
            case "bnb" | "bnb_once":
                self._burning_once = name == "bnb_once"
                self.burn(on=True)
            case "leverage":
                self._outside(do="leverage", symbol=symbol, leverage=int(number or 0))
            case "adl" | "liquidate" | "stop":
                self._outside(do="trigger" if name == STOP else name, symbol=symbol)
            case "rule":
                self._outside(do="rule", code=int(number or 0), msg="Quantitative rules violated.")
            case "key":
                self._outside(do="key", revoked=True)
            case _:
                raise ValueError(f"nobody knows how to let {name} happen")

    def fault_of(self, name: str) -> str | None:
        """Return what becomes of a request by an outage that lasts."""
        now = self._time.now()
        return next((answer_in(kind, name) for kind, begin, end in self.outages if begin <= now < end), None)

    def outage_left(self) -> float:
        """Return for how many seconds more an outage lasts."""
        return max([0.0, *((end - self._time.now()) / 1000 for _, _, end in self.outages)])

    def settle_fees(self) -> None:
        """Let fees be paid in USDT again where one trade was to be paid in BNB, and was."""
        if self._burning_once and self._exchange.books.trades[-1:]:
            self._burning_once = self._exchange.books.trades[-1].commission_asset == "USDT"
            if not self._burning_once:
                self.burn(on=False)

    def burn(self, *, on: bool) -> None:
        """Switch paying fees in BNB on or off."""
        self._outside(do="fee_burn", feeBurn=on)

    def take_back_orders(self) -> None:
        """Cancel whatever somebody let rest."""
        for symbol in self._stage.symbols:
            self._outside(do="cancel_all", symbol=symbol)
            self._outside(do="cancel_all_algos", symbol=symbol)

    def close_by_hand(self) -> None:
        """Close what is held of the first symbol."""
        trades = [one for one in self._exchange.books.trades if one.symbol == self._stage.symbols[0]]
        held = sum((one.qty if one.side == "BUY" else -one.qty for one in trades), Decimal(0))
        if held:
            self._trade(-held)

    def _trade(self, quantity: Decimal, **more: str) -> None:
        """Let somebody else send an order on the same account."""
        side, symbol = "BUY" if quantity > 0 else "SELL", self._stage.symbols[0]
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": str(abs(quantity))}
        self._outside(do="order", **(order | more))

    def _outside(self, **event: Any) -> None:
        """Let something happen on the exchange that nobody asked the daemon for."""
        self._exchange.happen([event])

    def ask(self, kind: str) -> None:
        """Ask as `trader halt` does, from another process."""
        at, look = round(self._time.wall().timestamp() * 1000), self._stage.look
        (seen,) = look.execute("SELECT coalesce(max(id), 0) FROM states").fetchone()
        asked = "INSERT INTO requests (kind, at, seen) SELECT ?, ?, max(id) FROM states"
        number = _inserted(look.execute(asked, (kind, at)))
        self.asked.append(Asked(number, kind, self._step(), seen, self._time.now()))

    def forget(self, *, lost: bool, since: int) -> None:
        """Expect nothing of what was asked for after the state of the journal that is put back.

        A file that is merely copied has lost it; `trader journal restore` takes a halt over, as one may be asked for
        between two starts. What was to be asked for behind the commit in which the process died never was.
        """
        (last,) = self._stage.look.execute("SELECT coalesce(max(id), 0) FROM requests").fetchone()
        asked = [one for one in self.asked if one.step < since]
        self.asked, later = [one for one in asked if one.number <= last], [one for one in asked if one.number > last]
        if not lost and not any(one.kind == "resume" for one in later):
            self.asked += later


def _inserted(cursor: sqlite3.Cursor) -> int:
    return cursor.lastrowid or 0
