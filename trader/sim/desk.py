"""Hold what the answers are made from: tape, venue, history, and what a client may see of them."""

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trader.sim.account import Account
from trader.sim.errors import Refusal, missing, unknown_symbol
from trader.sim.instruments import Listing
from trader.sim.klines import Klines
from trader.sim.ledger import Books, State
from trader.sim.money import ONE, finest_decimals
from trader.sim.records import Position, Terms
from trader.sim.switches import Switches
from trader.sim.tape import Tape
from trader.sim.venue import Venue
from trader.sim.wire import Params

SEVEN_DAYS = 7 * 86_400_000


class Desk:
    """Give request handlers one place to look; handlers set ``whole`` when they change settings.

    Faults change how the next request is handled: its order is ``held`` open, or filled to a ``share`` only, and
    klines are answered as they stood ``behind`` milliseconds ago, or before the last close (``unpublished``). Events
    leave what is to happen ``later``, and ``changed`` says that switches are to be written.
    """

    def __init__(
        self,
        tape: Tape,
        listing: Listing,
        terms: Terms,
        venue: Venue,
        state: State,
        books: Books,
        switches: Switches,
        created: int,
    ) -> None:
        self.tape, self.terms, self.switches = tape, terms, switches
        self.venue, self.state, self.books, self.created = venue, state, books, created
        self.klines: dict[tuple[str, int], Klines] = {}
        self.info_of: list[tuple[str, str]] | None = None
        self.info_text = ""
        self.given, self.instruments = listing.instruments, dict(listing.instruments)
        self.listing = replace(listing, instruments=self.instruments)
        self.whole = self.changed = False
        self.later: list[dict[str, Any]] = []
        self.treat_as_usual()
        venue.instruments = self.instruments
        switches.apply(venue, self.given, self.instruments)
        self._decimals: dict[str, int] = {}

    def treat_as_usual(self) -> None:
        """Forget what a fault asked for."""
        self.held, self.share, self.behind, self.unpublished = False, ONE, 0, False

    def treat(self, action: str, args: Mapping[str, Any]) -> None:
        """Remember what a fault asks for; most ask for nothing here."""
        self.held, self.unpublished = action == "rest", action == "late_candle"
        self.share = Decimal(str(args["share"])) if action == "partial" else ONE
        self.behind = int(args["ms"]) if action == "stale_klines" else 0

    def apply_switches(self) -> None:
        """Let changed switches take effect and be written down."""
        self.switches.apply(self.venue, self.given, self.instruments)
        self.info_of, self.changed = None, True

    def check_rights(self, *, spot: bool) -> None:
        """Refuse a key that was revoked or lacks the right to read (on the spot host) or to trade futures."""
        right = "enableReading" if spot else "enableFutures"
        if self.switches.revoked or not self.switches.rights.get(right, True):
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)

    def symbols(self) -> list[str]:
        """List the symbols whose first bar has begun."""
        return [symbol for symbol in self.tape.series if self.venue.listed(symbol)]

    def symbol(self, params: Params) -> str:
        """Read the mandatory symbol, listed by now."""
        symbol = params.get("symbol")
        if not symbol:
            raise missing("symbol")
        if not self.venue.listed(symbol):
            raise unknown_symbol()
        return symbol

    def price_decimals(self, symbol: str) -> int:
        """Give the decimals in which prices of the tape are written."""
        if symbol not in self._decimals:
            series = self.tape.series[symbol]
            finest = finest_decimals([series.open, series.high, series.low, series.close])
            self._decimals[symbol] = max(finest, self.listing.instruments[symbol].price_decimals)
        return self._decimals[symbol]

    def price_text(self, symbol: str) -> str:
        """Write the last price as klines write it."""
        return f"{self.venue.price(symbol):.{self.price_decimals(symbol)}f}"

    def hides(self, order_id: int) -> bool:
        """Tell whether an order is executed but not to be seen yet."""
        veil = self.state.veil
        return veil is not None and veil["order_id"] == order_id and self.venue.now < veil["until"]

    def view(self) -> Account:
        """Give the account as reads may see it: before a hidden order while one is hidden."""
        veil = self.state.veil
        if veil is None or self.venue.now >= veil["until"]:
            return self.venue.account
        now = self.venue.account
        account = Account(Decimal(veil["wallet"]), now.dual, now.multi_assets, {}, now.settings)
        account.update_time = veil["update_time"]
        for row in veil["positions"]:
            money = {name: Decimal(row[name]) for name in ("quantity", "cost", "margin")}
            account.positions[(row["symbol"], row["side"])] = Position(**{**row, **money})
        return account


def window(params: Params, now: int) -> tuple[int, int]:
    """Read the span of time asked for: the last seven days unless said otherwise, never more than seven."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is None:
        return (now if end is None else end) - SEVEN_DAYS, now if end is None else end
    if end is None:
        return start, start + SEVEN_DAYS
    if start > end:
        raise Refusal(-1023, "Start time is greater than end time.")
    if end - start > SEVEN_DAYS:
        raise Refusal(-1127, "Lookup interval is too big. More than 168 hours between startTime and endTime.")
    return start, end


def between(rows: list[Any], start: int, end: int, name: str = "time") -> list[Any]:
    """Cut a list sorted by a time."""
    key = operator.attrgetter(name)
    return rows[bisect_left(rows, start, key=key) : bisect_right(rows, end, key=key)]
