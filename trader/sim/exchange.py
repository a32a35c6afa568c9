"""Join clock, venue, ledger and protocol: one request in, one committed answer out. Nothing here touches a socket."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from trader.sim import events, matching
from trader.sim.clock import Clock
from trader.sim.desk import Desk
from trader.sim.errors import Refusal
from trader.sim.faults import Plan, Shot
from trader.sim.instruments import Listing
from trader.sim.ledger import Ledger
from trader.sim.limits import Limits
from trader.sim.records import DEFAULT_LEVERAGE, Setting, Terms
from trader.sim.report import write_report
from trader.sim.routes import ROUTES, Route
from trader.sim.tape import Tape
from trader.sim.venue import Venue
from trader.sim.wire import Answer, Keys, Params, Request, authorise, check_time, read_params, refusal

_PATH = " path"  # beside the parameters of a late request; no parameter has such a name
_NEW_ORDER = "POST /fapi/v1/order"


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
        state = self.state
        ids = (state.next_order, state.next_trade, state.next_income, state.next_algo)
        self.venue = Venue(tape, listing.instruments, account, terms, state.clock, ids)
        self.venue.open = {
            order.order_id: order for order in self.books.orders if order.status in ("NEW", "PARTIALLY_FILLED")
        }
        algos = self.books.algos.values()
        self.venue.waiting = {algo.algo_id: algo for algo in algos if algo.status == "NEW"}
        self.venue.triggered = {algo.order_id: algo for algo in algos if algo.status == "TRIGGERED"}
        for symbol, instrument in listing.instruments.items():
            if instrument.max_leverage < DEFAULT_LEVERAGE and symbol not in account.settings:
                account.settings[symbol] = Setting(symbol, instrument.max_leverage)
        created = int(ledger.identity()["created"])
        self.desk = Desk(tape, listing, terms, self.venue, state, self.books, ledger.switches(), created)
        self.limits = Limits(listing.rate_limits, self.state.windows)
        self.plan = Plan(ledger.faults())
        self.late = ledger.late()
        self._late_done: list[int] = []
        self._shots: list[Shot] = []

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

    def answer(self, request: Request, shot: Shot | None = None) -> Answer:
        """Handle a request that has begun, as its fault wants it handled, and commit what it did."""
        route = ROUTES.get(request.name)
        number, action = self.venue.next_order, shot.action if shot else ""
        if shot is not None:
            self.desk.treat(action, shot.args)
            if action == "late_visibility":
                self._hide_next_order(int(shot.args["ms"]))
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
        if shot is not None:
            self.desk.treat_as_usual()
            if action == "late_visibility" and self.venue.next_order == number:
                self.state.veil = None
            if action == "rest" and number in self.venue.open:
                args = {name: str(shot.args[name]) for name in ("then", "share") if name in shot.args}
                self._add_late(self.venue.now + int(shot.args["ms"]), {"orderId": str(number), **args})
        self._commit()
        result.headers |= headers
        return result

    def _handle(self, request: Request, route: Route) -> str:
        params = read_params(request)
        weight = route.weight if isinstance(route.weight, int) else route.weight(params)
        if not route.spot:
            self.limits.spend(self.venue.now, weight)
        if route.signed:
            authorise(request, params, self.keys, self.venue.now + self.desk.switches.skew)
            self.desk.check_rights(spot=route.spot)
        if route.orders:
            self.limits.order(self.venue.now)
        return route.handler(self.desk, params)

    # -- faults ---------------------------------------------------------------------------------------------------

    def postpone(self, request: Request, delay: int) -> None:
        """Keep a request for later; it is executed when the clock reaches its time, if its window allows."""
        self._add_late(self.venue.now + delay, {**read_params(request), _PATH: request.name})

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
        while True:
            late, event = self.late[0][0] if self.late else None, self.plan.next_event()
            due = min((each for each in (late, event) if each is not None), default=None)
            if due is None or due > now:
                break
            self.venue.play(due)
            if due == event:
                self._happen(self.plan.take_event(self.state.requests, self.venue.now))
            else:
                _, number, params = self.late.pop(0)
                self._execute_late(Params(params))
                self._late_done.append(number)
        if now > self.venue.now:
            self.venue.play(now)
        self.clock.settle(self.venue.now)

    def _happen(self, shot: Shot) -> None:
        """Carry out an event of the plan; one that is refused is said in the fault log."""
        self._shots.append(shot)
        self.perform(shot)

    def perform(self, shot: Shot) -> None:
        """Carry out what a request of the plan sets off, before it is answered."""
        try:
            events.perform(self.desk, shot.args)
        except Refusal as error:
            refused = f"{shot.action} refused: {error.code}"
            self.plan.remark(Shot(None, self.state.requests, shot.path, refused, self.venue.now))

    def _execute_late(self, params: Params) -> None:
        if "orderId" in params and _PATH not in params:
            self._end_rest(params)
            return
        name = params.pop(_PATH, _NEW_ORDER)
        what = "order" if name == _NEW_ORDER else "request"
        outcome = f"late {what} executed"
        try:
            timestamp = params.integer("timestamp")
            check_time(timestamp or 0, params.integer("recvWindow"), self.venue.now)
            ROUTES[name].handler(self.desk, params)
        except Refusal as error:
            outcome = f"late {what} refused: {error.code}"
        self.plan.remark(Shot(None, self.state.requests, name, outcome, self.venue.now))

    def _end_rest(self, params: Params) -> None:
        """Do with an order that was held open what the fault said."""
        order = self.venue.open.get(int(params["orderId"]))
        if order is None:
            return
        if params.get("then", "FILLED") == "FILLED":
            matching.settle(self.venue, order, Decimal(params.get("share", "1")))
        else:
            self.venue.cancel(order, params["then"])

    # -- disk -----------------------------------------------------------------------------------------------------

    def _commit(self, shot: Shot | None = None) -> None:
        state, venue = self.state, self.venue
        state.clock = venue.now
        state.next_order, state.next_trade, state.next_income = venue.next_order, venue.next_trade, venue.next_income
        state.next_algo = venue.next_algo
        if state.veil is not None and venue.now >= state.veil["until"]:
            state.veil = None
        shots, self._shots = [*self._shots, *self.plan.take_remarks(), *([shot] if shot else [])], []
        done, self._late_done = self._late_done, []
        changed = self.desk.switches if self.desk.changed else None
        self.ledger.save(
            state,
            venue.account,
            venue.news,
            self.books,
            whole=self.desk.whole,
            shots=shots,
            late_done=done,
            switches=changed,
        )
        self.desk.whole = self.desk.changed = False
        if self.desk.later:
            later, self.desk.later = self.desk.later, []
            self.add_faults(later)

    # -- control --------------------------------------------------------------------------------------------------

    def add_faults(self, entries: list[dict[str, Any]], origin: str | None = None) -> int:
        """Add fault plans; with an origin the same entries are taken only once in the ledger's life."""
        for index, entry in enumerate(entries):
            key = f"{origin}:{index}:{json.dumps(entry, sort_keys=True)}" if origin else None
            self.ledger.add_fault(entry, key)
        self.plan = Plan(self.ledger.faults())
        return len(entries)

    def happen(self, entries: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Carry out events now, or keep those with an ``at`` that is still to come; one answer for each."""
        self._reach(self.clock.read())
        answers: list[dict[str, Any]] = []
        for entry in entries:
            if entry.get("at", 0) > self.venue.now:
                self.desk.later.append(dict(entry))
                answers.append({"at": entry["at"]})
                continue
            try:
                events.perform(self.desk, entry)
                answers.append({"done": entry["do"]})
            except Refusal as error:
                answers.append({"code": error.code, "msg": error.message})
            else:
                self._shots.append(Shot(None, self.state.requests, "", entry["do"], self.venue.now))
        self._commit()
        return answers

    def report(self) -> str:
        """Write the whole ledger for a checker."""
        return write_report(self.desk, self.ledger, self.late, self.tape_end)
