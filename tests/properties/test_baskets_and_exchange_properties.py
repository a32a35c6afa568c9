"""Many symbols on one account: the imagined ledger as the backtest plays it, and the embedded exchange."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.markets_at_hand import COSTS, START, baskets
from tests.unit.execution_world import instrument
from trader.domain.interval import Interval
from trader.errors import Rejected
from trader.execution.fills import Holding, Ledger
from trader.execution.stops import level
from trader.market.candles import parse_candles
from trader.market.funding import parse_funding
from trader.research.backtest import Backtest, play_bars
from trader.research.track import Tape
from trader.sim.account import Account, available
from trader.sim.conditional import Condition
from trader.sim.conditional import place as conditional_place
from trader.sim.errors import Refusal
from trader.sim.floor import Ticket
from trader.sim.instruments import default_listing
from trader.sim.matching import place
from trader.sim.money import sign
from trader.sim.records import Setting, Terms
from trader.sim.tape import load_tape
from trader.sim.venue import Venue

BARS = 40
HOUR = Interval.parse("1h")
NAMES = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")


class Order(NamedTuple):
    """One order of a plan."""

    bar: int
    symbol: str
    quantity: int
    reduce_only: bool


class Both:
    """One account of many symbols on both sides, moved and asked together."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        wallet: Decimal,
        leverage: int,
        *,
        isolated: bool,
        wild: float,
        stop: Decimal | None = None,
    ) -> None:
        self.stop = stop
        candles_file, funding_file = baskets(folder, seed, NAMES, BARS, volatility=wild)
        tape = load_tape(candles_file, funding_file)
        listing = default_listing(tape)
        settings = {symbol: Setting(symbol, leverage, isolated) for symbol in NAMES}
        terms = Terms(COSTS.fee, COSTS.slippage, COSTS.spread, wallet)
        self.venue = Venue(tape, listing.instruments, Account(wallet, settings=settings), terms, at(0))
        candles = parse_candles(candles_file.read_bytes(), candles_file.name)
        funding = parse_funding(funding_file.read_bytes(), funding_file.name)
        self.tapes = {symbol: Tape.of(candles, funding, symbol, HOUR) for symbol in NAMES}
        self.rules = {symbol: instrument(symbol, max_quantity="10000000") for symbol in NAMES}
        self.ledger = Ledger(wallet, COSTS, leverage, "isolated" if isolated else "cross")
        self.result = Backtest(wallet)

    def prices(self, bar: int) -> dict[str, Decimal]:
        now = START + timedelta(hours=bar)
        return {symbol: tape.price(now) for symbol, tape in self.tapes.items() if tape.start <= now}

    def play(self, bar: int) -> None:
        self.venue.play(at(bar))
        play_bars(self.ledger, self.tapes, self.rules, moment(bar - 1), moment(bar), self.result, self.stop)

    def protect(self) -> None:
        """Let a stop rest for every position, at the level the ledger strikes at, and none of another level or side."""
        wanted = {}
        for symbol, holding in self.ledger.holdings.items() if self.stop is not None else ():
            entry = holding.cost / holding.quantity
            wanted[symbol] = (level(entry, holding.quantity, self.stop, self.rules[symbol]), -sign(holding.quantity))
        for algo in list(self.venue.waiting.values()):
            if wanted.get(algo.symbol) == (algo.trigger, algo.direction):
                del wanted[algo.symbol]
            else:
                self.venue.end_algo(algo, "CANCELED")
        for symbol, (trigger, direction) in wanted.items():
            asked = Condition(
                symbol, direction, "STOP_MARKET", trigger, Decimal(0), Decimal(0), "BOTH", "GTC", "MARK_PRICE", True,
                False, False, f"stop-{self.venue.next_algo}",
            )  # fmt: skip
            conditional_place(self.venue, asked)

    def order(self, order: Order) -> None:
        """Send one order to both and check that both take it or refuse it for the same reason."""
        prices = self.prices(order.bar)
        if order.symbol not in prices or self.venue.status(order.symbol) != "TRADING":
            return
        quantity, ours, theirs = Decimal(order.quantity), None, None
        if not order.reduce_only and abs(quantity) * prices[order.symbol] < 5:
            return
        rules = self.rules[order.symbol]
        try:
            self.ledger.trade(rules, quantity, prices[order.symbol], reduce_only=order.reduce_only, marks=prices)
        except Rejected as error:
            ours = error.code
        ticket = Ticket(
            order.symbol,
            1 if quantity > 0 else -1,
            abs(quantity),
            order.reduce_only,
            "BOTH",
            f"o{self.venue.next_order}",
        )
        try:
            place(self.venue, ticket)
        except Refusal as refusal:
            theirs = refusal.code
        assert ours == theirs

    def compare(self, bar: int) -> None:
        theirs = {
            symbol: Holding(each.quantity, each.cost, each.margin)
            for (symbol, _), each in self.venue.account.positions.items()
        }
        assert self.ledger.holdings == theirs
        assert self.ledger.wallet == self.venue.account.wallet
        assert self.ledger.available(self.prices(bar)) == available(self.venue.account, self.venue.price)

    def compare_what_was_taken(self) -> None:
        """The forced fills and what was cleared, in the exchange's own order."""
        names = ("autoclose-", "stop-")
        forced = {order.order_id for order in self.venue.news.orders if order.client_id.startswith(names)}
        taken = [trade for trade in self.venue.news.trades if trade.order_id in forced]
        ours = [(end, one.symbol, one.quantity, one.price, one.realised) for end, one in self.result.forced]
        assert ours == [
            (START + timedelta(milliseconds=each.time - at(0)), each.symbol,
             each.qty if each.side == "BUY" else -each.qty, each.price, each.realized_pnl)
            for each in taken
        ]  # fmt: skip
        cleared: dict[str, Decimal] = {}
        for each in self.venue.news.incomes:
            if each.income_type == "INSURANCE_CLEAR":
                cleared[each.symbol] = cleared.get(each.symbol, Decimal(0)) + each.income
        assert {symbol: amount for symbol, amount in self.result.cleared.items() if amount} == cleared


def moment(bar: int) -> datetime:
    return START + timedelta(hours=bar)


def at(bar: int) -> int:
    return round(moment(bar).timestamp() * 1000)


sizes = st.integers(-20_000, 20_000).filter(bool)
orders = st.builds(
    Order, st.integers(1, BARS - 1), st.sampled_from(NAMES), sizes, st.sampled_from([False, False, True])
)


@given(
    seed=st.integers(0, 10_000),
    wallet=st.sampled_from(["500", "5000", "50000"]).map(Decimal),
    leverage=st.sampled_from([2, 5, 10, 25]),
    isolated=st.sampled_from([False, False, False, True]),
    plan=st.lists(orders, min_size=4, max_size=30),
    wild=st.sampled_from([0.005, 0.02, 0.1]),
    stop=st.sampled_from([None, "0.005", "0.03", "0.2"]).map(lambda text: text and Decimal(text)),
)
def test_every_order_funding_liquidation_and_stop_of_a_basket_books_the_same_money(
    seed: int, wallet: Decimal, leverage: int, isolated: bool, plan: list[Order], wild: float, stop: Decimal | None
) -> None:
    with TemporaryDirectory() as folder:
        both = Both(Path(folder), seed, wallet, leverage, isolated=isolated, wild=wild, stop=stop)
    for bar in range(1, BARS + 1):
        both.play(bar)
        both.compare(bar)
        for order in plan:
            if order.bar == bar:
                both.order(order)
                both.compare(bar)
        both.protect()
    both.compare_what_was_taken()


@pytest.mark.parametrize("isolated", [True, False])
def test_stops_of_a_basket_that_trigger_in_a_bar_and_after_a_gap_close_what_they_protect(
    isolated: bool, tmp_path: Path
) -> None:
    both = Both(tmp_path, 3, Decimal(50000), 5, isolated=isolated, wild=0.02, stop=Decimal("0.01"))
    both.play(11)
    for number, symbol in enumerate(NAMES):
        both.order(Order(11, symbol, 9000 if number % 2 else -9000, reduce_only=False))
    both.protect()
    assert len(both.venue.waiting) == len(both.ledger.holdings) == 4
    for bar in range(12, BARS + 1):
        both.play(bar)
        both.compare(bar)
    both.compare_what_was_taken()
    assert len(both.result.forced) == 4
    assert both.ledger.holdings == both.venue.waiting == {}


@pytest.mark.fault(54)
def test_a_basket_under_cross_margin_is_taken_as_a_whole_with_the_largest_loss_first(tmp_path: Path) -> None:
    both = Both(tmp_path, 3, Decimal(3000), 10, isolated=False, wild=0.1)
    both.play(11)
    for number, symbol in enumerate(NAMES):
        both.order(Order(11, symbol, 12000 if number % 2 else -9000, reduce_only=False))
    assert len(both.ledger.holdings) == 4
    for bar in range(12, BARS + 1):
        both.play(bar)
        both.compare(bar)
    both.compare_what_was_taken()
    taken = [one.realised for _, one in both.result.forced]
    assert len(taken) >= 3
    assert taken == sorted(taken)
    assert both.ledger.wallet == 0
    assert any(both.result.cleared.values())


def test_these_markets_list_and_delist_and_pay_funding_at_their_own_times(tmp_path: Path) -> None:
    candles, funding = baskets(tmp_path, 5, NAMES, BARS, volatility=0.02)
    begins = pl.read_parquet(candles).group_by("symbol").agg(pl.col("open_time").min(), pl.len()).sort("symbol")
    assert begins["open_time"].n_unique() > 1
    assert begins["len"].n_unique() > 1
    stamps = pl.read_parquet(funding).group_by("symbol").len()["len"].to_numpy()
    assert np.ptp(stamps) > 5
