"""The imagined ledger and the embedded exchange, written apart, under the same orders on the same tape."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.markets_at_hand import COSTS, START, Market, random_walk
from tests.unit.execution_world import SYMBOL, instrument
from trader.domain.interval import Interval
from trader.errors import Rejected
from trader.execution.fills import Holding, Ledger
from trader.market.candles import parse_candles
from trader.market.funding import parse_funding
from trader.research.backtest import Backtest, play_bars
from trader.research.track import Tape
from trader.sim.account import Account
from trader.sim.errors import Refusal
from trader.sim.floor import Ticket
from trader.sim.instruments import default_listing
from trader.sim.matching import place
from trader.sim.records import Setting, Terms
from trader.sim.tape import load_tape
from trader.sim.venue import Venue

BARS = 60
RULES = instrument(max_quantity="10000000")


class Both:
    """One account on both sides, moved and asked together."""

    def __init__(self, market: Market, wallet: Decimal, leverage: int, *, isolated: bool) -> None:
        tape = load_tape(market.candles, market.funding)
        self.start = round(START.timestamp() * 1000)
        terms = Terms(COSTS.fee, COSTS.slippage, COSTS.spread, wallet)
        account = Account(wallet, settings={SYMBOL: Setting(SYMBOL, leverage, isolated)})
        self.venue = Venue(tape, default_listing(tape).instruments, account, terms, self.start)
        candles = parse_candles(market.candles.read_bytes(), market.candles.name)
        assert market.funding is not None
        funding = parse_funding(market.funding.read_bytes(), market.funding.name)
        self.tape = Tape.of(candles, funding, SYMBOL, Interval.parse("1h"))
        self.ledger = Ledger(wallet, COSTS, leverage, "isolated" if isolated else "cross")
        self.result = Backtest(wallet)
        self.times = [*candles["open_time"].to_list(), candles["close_time"][-1]]

    def play(self, bar: int) -> None:
        """End the bar before the one that begins at a time."""
        self.venue.play(self.start + bar * 3_600_000)
        play_bars(self.ledger, {SYMBOL: self.tape}, {SYMBOL: RULES}, self.times[bar - 1], self.times[bar], self.result)

    def order(self, bar: int, quantity: Decimal, *, reduce_only: bool) -> None:
        """Send one order to both and check that both take it or refuse it for the same reason."""
        ours = theirs = None
        price = self.tape.price(self.times[bar])
        if not reduce_only and abs(quantity) * price < RULES.min_notional:
            return
        try:
            self.ledger.trade(RULES, quantity, price, reduce_only=reduce_only)
        except Rejected as error:
            ours = error.code
        try:
            ticket = Ticket(SYMBOL, 1 if quantity > 0 else -1, abs(quantity), reduce_only, "BOTH", f"o{bar}")
            place(self.venue, ticket)
        except Refusal as refusal:
            theirs = refusal.code
        assert ours == theirs

    def compare(self, bar: int) -> None:
        found = self.venue.account.positions.get((SYMBOL, "BOTH"))
        theirs = None if found is None else Holding(found.quantity, found.cost, found.margin)
        assert self.ledger.holdings.get(SYMBOL) == theirs
        assert self.ledger.wallet == self.venue.account.wallet
        assert self.tape.price(self.times[bar]) == self.venue.price(SYMBOL)


sizes = st.integers(-40_000, 40_000).filter(bool) | st.sampled_from([1, -1, 25_000_000, -25_000_000 // 3])
plans = st.lists(st.tuples(st.integers(1, BARS), sizes, st.booleans()), max_size=20)


@pytest.mark.fault(55)
@given(
    seed=st.integers(0, 10_000),
    wallet=st.sampled_from(["100", "5000", "150000"]).map(Decimal),
    leverage=st.sampled_from([1, 2, 3, 7, 10, 25, 50]),
    isolated=st.sampled_from([True, True, False]),
    orders=plans,
    volatility=st.sampled_from([0.002, 0.02, 0.1]),
)
def test_every_order_funding_and_liquidation_books_the_same_money(
    seed: int, wallet: Decimal, leverage: int, isolated: bool, orders: list[tuple[int, int, bool]], volatility: float
) -> None:
    with TemporaryDirectory() as folder:
        both = Both(random_walk(Path(folder), seed, BARS, volatility=volatility), wallet, leverage, isolated=isolated)
    for bar in range(1, BARS + 1):
        both.play(bar)
        both.compare(bar)
        for at, size, reduce_only in orders:
            if at == bar:
                both.order(bar, Decimal(max(-9_999_999, min(9_999_999, size))), reduce_only=reduce_only)
                both.compare(bar)


def test_the_tapes_of_these_comparisons_liquidate_and_pay_funding(tmp_path: Path) -> None:
    market = random_walk(tmp_path, 1, BARS, volatility=0.1)
    assert market.funding is not None
    rates = pl.read_parquet(market.funding)["funding_rate"].to_numpy()
    assert np.count_nonzero(rates) > 5
    both = Both(market, Decimal(5000), 10, isolated=True)
    both.order(0, Decimal(40_000), reduce_only=False)
    assert both.ledger.holdings
    for bar in range(1, BARS + 1):
        both.play(bar)
        both.compare(bar)
    assert not both.ledger.holdings
