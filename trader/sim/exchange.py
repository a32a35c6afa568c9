"""Join clock, venue, ledger and protocol: one request in, one committed answer out. Nothing here touches a socket."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from trader.sim.clock import Clock
from trader.sim.desk import Desk
from trader.sim.errors import Refusal
from trader.sim.faults import Plan, Shot
from trader.sim.instruments import Listing
from trader.sim.ledger import Ledger
from trader.sim.limits import Limits
from trader.sim.orders import read_ticket
from trader.sim.records import DEFAULT_LEVERAGE, Setting, Terms
from trader.sim.routes import ROUTES, Route
from trader.sim.tape import Tape
from trader.sim.venue import Venue
from trader.sim.wire import Answer, Keys, Params, Request, authorise, check_time, dump, read_params, refusal


class Exchange:
    """Answer requests for one account on one tape. Every public method leaves the ledger committed."""

    def __init__(
        self,
        tape: Tape,
        listing: Listing,
        terms: Terms,
        ledger: Ledger,
        clock: Clock,
        keys: Keys,
    ) -> None:
        self.tape, self.terms, self.ledger, self.clock, self.keys = tape, terms, ledger, clock, keys
        self.state, account, self.books = ledger.load()
        ids = (self.state.next_order, self.state.next_trade, self.state.next_income)
        self.venue = Venue(tape, listing.instruments, account, terms, self.state.clock, ids)
        self.venue.open = {order.order_id: order for order in self.books.orders if order.status == "NEW"}
        for symbol, instrument in listing.instruments.items():
            if instrument.max_leverage < DEFAULT_LEVERAGE and symbol not in account.settings:
                account.settings[symbol] = Setting(symbol, instrument.max_leverage)
        created = int(ledger.identity()["created"])
        self.desk = Desk(tape, listing, terms, self.venue, self.state, self.books, created)
        self.limits = Limits(listing.rate_limits, self.state.windows)
        self.plan = Plan(ledger.faults())
        self.late = ledger.late()
        self._late_done: list[int] = []

    # -- one request ----------------------------------------------------------------------------------------------

    def begin(self, request: Request) -> Shot | None:
        """Move the clock for a request, count it, and give the fault that is due, already recorded."""
        self._reach(self.clock.tick())
        self.state.requests += 1
        name = request.name if request.name in ROUTES else "other"
        self.state.counts[name] = self.state.counts.get(name, 0) + 1
        shot = self.plan.draw(self.state.requests, request.name, self.state.counts[name], self.venue.now)
        if shot is not None:
            self._commit(shot)
        return shot

    def answer(self, request: Request, *, hide: int = 0, rest: int = 0) -> Answer:
        """Handle a request that has begun and commit what it did.

        An order is hidden for ``hide`` milliseconds, or stays open for ``rest`` milliseconds before it is filled.
        """
        route = ROUTES.get(request.name)
        number, self.desk.resting = self.venue.next_order, bool(rest)
        if hide:
            self._hide_next_order(hide)
        headers: dict[str, str] = {}
        try:
            if route is None:
                raise Refusal(-5000, f"Path {request.path}, Method {request.method} is invalid", status=404)
            result = Answer(200, self._handle(request, route).encode())
        except Refusal as error:
            result = refusal(error)
        if route is None or not route.spot:
            headers["X-MBX-USED-WEIGHT-1M"] = str(self.limits.weight(self.venue.now))
        if route is not None and route.orders:
            headers |= self.limits.order_headers(self.venue.now)
        self.desk.resting = False
        if hide and self.venue.next_order == number:
            self.state.veil = None
        if rest and number in self.venue.open:
            self._add_late(self.venue.now + rest, {"orderId": str(number)})
        self._commit()
        result.headers |= headers
        return result

    def _handle(self, request: Request, route: Route) -> str:
        params = read_params(request)
        weight = route.weight if isinstance(route.weight, int) else route.weight(params)
        if not route.spot:
            self.limits.spend(self.venue.now, weight)
        if route.signed:
            authorise(request, params, self.keys, self.venue.now)
        if route.orders:
            self.limits.order(self.venue.now)
        return route.handler(self.desk, params)

    # -- faults ---------------------------------------------------------------------------------------------------

    def postpone(self, request: Request, delay: int) -> None:
        """Keep an order for later; it is executed when the clock reaches its time, if its window allows."""
        params = read_params(request)
        self._add_late(self.venue.now + delay, params)

    def _add_late(self, due: int, params: Mapping[str, str]) -> None:
        self.ledger.add_late(due, params)
        self.late = self.ledger.late()

    def pass_time(self, millis: int) -> None:
        """Let time go by during a request (a stepped clock does not move by itself)."""
        self._reach(min(self.venue.now + millis, self.tape_end) if self.clock.rate is None else self.clock.read())
        self._commit()

    def _hide_next_order(self, delay: int) -> None:
        """Hide the next order and what it does to the account until ``delay`` milliseconds from now."""
        account = self.venue.account
        self.state.veil = {
            "order_id": self.venue.next_order,
            "until": self.venue.now + delay,
            "wallet": str(account.wallet),
            "update_time": account.update_time,
            "positions": [
                {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(each).items()}
                for each in account.positions.values()
            ],
        }

    # -- time -----------------------------------------------------------------------------------------------------

    @property
    def tape_end(self) -> int:
        """Give the last instant there is."""
        return self.clock.end

    def advance(self, to: int) -> dict[str, Any]:
        """Jump to an instant, playing everything up to it; an instant already passed changes nothing."""
        self._reach(self.clock.read())
        to = min(to, self.tape_end)
        if to > self.venue.now:
            self._reach(to)
            self.clock.jump(to)
        self._commit()
        return {"time": self.venue.now, "ended": self.venue.now >= self.tape_end}

    def read_time(self) -> dict[str, Any]:
        """Tell the time without spending any."""
        self._reach(self.clock.read())
        self._commit()
        return {"time": self.venue.now, "tape_end": self.tape_end}

    def _reach(self, now: int) -> None:
        while self.late and self.late[0][0] <= now:
            due, number, params = self.late.pop(0)
            self.venue.play(due)
            self._execute_late(Params(params))
            self._late_done.append(number)
        if now > self.venue.now:
            self.venue.play(now)
        self.clock.settle(self.venue.now)

    def _execute_late(self, params: Params) -> None:
        if "orderId" in params:
            resting = self.venue.open.get(int(params["orderId"]))
            if resting is not None:
                self.venue.settle_resting(resting)
            return
        outcome = "late order executed"
        try:
            timestamp = params.integer("timestamp")
            check_time(timestamp or 0, params.integer("recvWindow"), self.venue.now)
            self.venue.execute(read_ticket(self.desk, params))
        except Refusal as error:
            outcome = f"late order refused: {error.code}"
        self.plan.remark(Shot(None, self.state.requests, "POST /fapi/v1/order", outcome, self.venue.now))

    # -- disk -----------------------------------------------------------------------------------------------------

    def _commit(self, shot: Shot | None = None) -> None:
        state, venue = self.state, self.venue
        state.clock = venue.now
        state.next_order, state.next_trade, state.next_income = venue.next_order, venue.next_trade, venue.next_income
        if state.veil is not None and venue.now >= state.veil["until"]:
            state.veil = None
        shots = self.plan.take_remarks() + ([shot] if shot else [])
        done, self._late_done = self._late_done, []
        self.ledger.save(
            state, venue.account, venue.news, self.books, whole=self.desk.whole, shots=shots, late_done=done
        )
        self.desk.whole = False

    # -- control --------------------------------------------------------------------------------------------------

    def add_faults(self, entries: list[dict[str, Any]], origin: str | None = None) -> int:
        """Add fault plans; with an origin the same entries are taken only once in the ledger's life."""
        for index, entry in enumerate(entries):
            key = f"{origin}:{index}:{json.dumps(entry, sort_keys=True)}" if origin else None
            self.ledger.add_fault(entry, key)
        self.plan = Plan(self.ledger.faults())
        return len(entries)

    def report(self) -> str:
        """Write the whole ledger for a checker."""
        account = self.venue.account
        return dump(
            {
                "time": self.venue.now,
                "tape": self.tape.name,
                "tape_end": self.tape_end,
                "equity_start": str(self.terms.equity),
                "wallet": str(account.wallet),
                "dual": account.dual,
                "requests": self.state.requests,
                "counts": self.state.counts,
                "orders": [_row(each) for each in self.books.orders],
                "trades": [_row(each) for each in self.books.trades],
                "incomes": [_row(each) for each in self.books.incomes],
                "positions": [_row(each) for each in account.positions.values()],
                "settings": [_row(each) for each in account.settings.values()],
                "faults": [{"plan": plan, "fired": fired} for _, plan, fired in self.ledger.faults()],
                "fault_log": self.ledger.fault_log(),
                "late": [{"due": due, "params": params} for due, _, params in self.late],
            }
        )


def _row(record: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(record).items()}
