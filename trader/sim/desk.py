"""Hold what the answers are made from: tape, venue, history, and what a client may see of them."""

from decimal import Decimal

from trader.sim.account import Account
from trader.sim.errors import missing, unknown_symbol
from trader.sim.instruments import Listing
from trader.sim.klines import Klines
from trader.sim.ledger import Books, State
from trader.sim.money import finest_decimals
from trader.sim.records import Position, Terms
from trader.sim.tape import Tape
from trader.sim.venue import Venue
from trader.sim.wire import Params


class Desk:
    """Give request handlers one place to look; handlers set ``whole`` when they change settings."""

    def __init__(
        self, tape: Tape, listing: Listing, terms: Terms, venue: Venue, state: State, books: Books, created: int
    ) -> None:
        self.tape, self.listing, self.terms = tape, listing, terms
        self.venue, self.state, self.books, self.created = venue, state, books, created
        self.klines: dict[tuple[str, int], Klines] = {}
        self.info_of: tuple[tuple[str, bool], ...] | None = None
        self.info_text = ""
        self.whole = False
        self.resting = False
        self._decimals: dict[str, int] = {}

    def symbols(self) -> list[str]:
        """List the symbols whose first bar has begun."""
        return [symbol for symbol in self.tape.series if self.venue.listed(symbol)]

    def ended(self, symbol: str) -> bool:
        """Tell whether a symbol's bars ended before the tape's."""
        return self.tape.series[symbol].end <= self.venue.now and self.tape.series[symbol].end < self.tape.end

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
        account = Account(Decimal(veil["wallet"]), self.venue.account.dual, {}, self.venue.account.settings)
        account.update_time = veil["update_time"]
        for row in veil["positions"]:
            money = {name: Decimal(row[name]) for name in ("quantity", "cost", "margin")}
            account.positions[(row["symbol"], row["side"])] = Position(**{**row, **money})
        return account
