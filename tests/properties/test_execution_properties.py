"""Planning and guarding, for any book: whole steps, no leg past a limit, exact closes, legs that add up."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.execution_world import OTHER, SYMBOL, instrument, limits, walked
from trader.domain.decision import Book, Limits, Margin, State
from trader.domain.instrument import Instrument
from trader.execution.guards import judge
from trader.execution.plan import Plan, plan, wished_quantity

MARGIN = Margin(2, isolated=True)

STEPS = ["0.001", "0.1", "1", "10", "3"]
amounts = st.decimals("0.00000001", "10000000", places=8)
targets = st.floats(-10, 10) | st.sampled_from([0.0, -0.0, 0.5, -0.5, 1e-9])
bands = st.floats(0, 2) | st.just(0.0)


@st.composite
def rules(draw: st.DrawFn, symbol: str = SYMBOL) -> Instrument:
    """Any instrument whose largest order is at least twice its smallest, as on every exchange."""
    step = Decimal(draw(st.sampled_from(STEPS)))
    least = step * draw(st.integers(1, 20))
    return instrument(
        symbol,
        step=step,
        min_quantity=least,
        max_quantity=2 * least + step * draw(st.integers(0, 100_000)) + draw(st.sampled_from([Decimal(0), step / 2])),
        min_notional=Decimal(draw(st.sampled_from([0, 5, 100]))),
        status=draw(st.sampled_from(["TRADING", "TRADING", "SETTLING"])),
    )


@st.composite
def books(draw: st.DrawFn, *, whole: bool = False) -> Book:
    """One or two symbols; unless `whole`, what is held may be no multiple of the step."""
    found = [draw(rules())] + ([draw(rules(OTHER))] if draw(st.booleans()) else [])
    held = {}
    for one in found:
        residue = Decimal(0) if whole else draw(st.sampled_from([Decimal(0), Decimal(0), one.step / 4]))
        quantity = draw(st.sampled_from([1, -1])) * (one.step * draw(st.integers(0, 1_000_000)) + residue)
        if quantity:
            held[one.symbol] = quantity
    equity = draw(amounts) if draw(st.integers(0, 9)) else -draw(amounts)
    prices = {one.symbol: draw(st.decimals("0.0001", "100000", places=4)) for one in found}
    # no more parts than anybody would wait for
    assume(all(abs(held.get(one.symbol, Decimal(0))) < 200 * one.max_quantity for one in found))
    assume(all(10 * abs(equity) < 200 * one.max_quantity * prices[one.symbol] for one in found))
    return Book(
        equity=equity,
        peak_equity=max(equity, Decimal(1)),
        positions=held,
        prices=prices,
        instruments={one.symbol: one for one in found},
        state=draw(st.sampled_from(list(State))),
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[Book, Plan]:
    book = draw(books())
    wished = {symbol: draw(targets) for symbol in book.instruments}
    capital = draw(st.none() | amounts)
    # no more parts than anybody would wait for
    assume(capital is None or capital <= 10 * abs(book.equity))
    return book, plan(wished, book, draw(bands), capital=capital, reopen=draw(st.booleans()))


@st.composite
def any_limits(draw: st.DrawFn) -> Limits:
    optional = st.none() | amounts
    return limits(
        max_leverage=draw(st.decimals("0", "20", places=2)),
        max_notional=draw(optional),
        max_position=draw(optional),
    )


@given(plans())
def test_legs_add_up_to_what_is_planned(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    for symbol in book.instruments:
        held = book.positions.get(symbol, Decimal(0))
        assert walked(held, planned.legs, symbol)[-1] == planned.quantities[symbol]


@given(plans())
def test_every_leg_is_whole_steps(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    assert all(leg.quantity % book.instruments[leg.symbol].step == 0 for leg in planned.legs)


@given(plans())
def test_no_leg_is_refused_for_its_size(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    for leg in planned.legs:
        one = book.instruments[leg.symbol]
        assert leg.quantity != 0
        assert abs(leg.quantity) <= one.max_quantity
        if not leg.reduce_only:
            assert abs(leg.quantity) >= one.min_quantity
        if leg.kind == "r":
            assert abs(leg.quantity) >= one.min_quantity


@given(books(whole=True), targets)
def test_the_parts_of_a_close_are_no_smaller_than_the_whole_or_the_minimum(book: Book, target: float) -> None:
    for symbol, held in book.positions.items():
        closing = [leg for leg in plan({symbol: -target if held > 0 else target}, book, 0.0).legs if leg.kind == "c"]
        least = book.instruments[symbol].min_quantity
        assert all(abs(leg.quantity) >= min(least, abs(held)) for leg in closing)


@given(plans())
def test_a_position_is_closed_exactly_before_the_other_side_is_opened(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    for symbol in book.instruments:
        held = book.positions.get(symbol, Decimal(0))
        closing = tuple(leg for leg in planned.legs if (leg.symbol, leg.kind) == (symbol, "c"))
        opened = [leg for leg in planned.legs if (leg.symbol, leg.kind) == (symbol, "o")]
        if closing or opened:
            assert walked(held, closing, symbol)[-1] == 0
        path = walked(held, planned.legs, symbol)
        assert all(before * after >= 0 for before, after in pairwise(path))


@given(plans())
def test_no_position_on_the_way_is_larger_than_the_first_or_the_last(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    for symbol in book.instruments:
        path = [abs(quantity) for quantity in walked(book.positions.get(symbol, Decimal(0)), planned.legs, symbol)]
        assert max(path) == max(path[0], path[-1])


@given(plans())
def test_reducing_legs_come_first_and_only_reduce(drawn: tuple[Book, Plan]) -> None:
    book, planned = drawn
    order = [leg.reduce_only for leg in planned.legs]
    assert order == sorted(order, reverse=True)
    held = dict(book.positions)
    for leg in planned.legs:
        before = held.get(leg.symbol, Decimal(0))
        held[leg.symbol] = leg.reaches(before)
        assert (abs(held[leg.symbol]) < abs(before)) is leg.reduce_only


@given(books(), targets, bands)
def test_an_unchanged_side_within_its_band_is_not_touched(book: Book, target: float, band: float) -> None:
    wished = wished_quantity(target, book.equity, book.prices[SYMBOL], book.instruments[SYMBOL])
    held = book.positions.get(SYMBOL, Decimal(0))
    if held * wished > 0 and abs(wished - held) <= Decimal(repr(band)) * abs(wished):
        assert plan({SYMBOL: target}, book, band).legs == ()


@given(plans(), st.data())
def test_what_was_reached_is_held_when_nothing_has_moved(drawn: tuple[Book, Plan], data: st.DataObject) -> None:
    book, _ = drawn
    target = data.draw(targets)
    first = plan({SYMBOL: target}, book, 0.0)
    reached = replace(book, positions={SYMBOL: first.quantities[SYMBOL]})
    again = plan({SYMBOL: target}, reached, 0.0)
    assert again.quantities == first.quantities
    assert again.legs == ()


@given(books(), targets)
def test_a_wish_is_never_worth_more_than_its_share_of_the_equity(book: Book, target: float) -> None:
    one, price = book.instruments[SYMBOL], book.prices[SYMBOL]
    wished = wished_quantity(target, book.equity, price, one)
    share = abs(Decimal(repr(target)) * book.equity)
    assert wished % one.step == 0
    assert abs(wished) * price <= share * (1 + Decimal("1e-27"))
    assert (abs(wished) + one.step) * price > share * (1 - Decimal("1e-27"))


@given(books(), targets, amounts)
def test_what_is_opened_anew_is_what_would_be_opened_from_nothing(book: Book, target: float, capital: Decimal) -> None:
    assume(capital <= 10 * abs(book.equity))
    held = book.positions.get(SYMBOL, Decimal(0))
    anew = plan({SYMBOL: target}, book, 0.25, capital=capital, reopen=True)
    fresh = plan({SYMBOL: target}, replace(book, positions={}), 0.25, capital=capital)
    assert anew.quantities == fresh.quantities
    closing = tuple(leg for leg in anew.legs if leg.kind == "c")
    assert walked(held, closing)[-1] == 0
    assert anew.legs == closing + fresh.legs


@given(plans(), any_limits())
def test_guards_part_the_legs_and_change_none(drawn: tuple[Book, Plan], under: Limits) -> None:
    book, planned = drawn
    approved, refused = judge(planned.legs, book, under, MARGIN)
    remaining = list(planned.legs)
    for leg in [*approved, *(one.leg for one in refused)]:
        remaining.remove(leg)
    assert remaining == []
    assert [leg for leg in planned.legs if leg in approved] == list(approved)
    assert all(leg.reduce_only is False for leg in (one.leg for one in refused))


@given(plans(), any_limits())
def test_no_approved_leg_leads_past_a_limit(drawn: tuple[Book, Plan], under: Limits) -> None:
    book, planned = drawn
    approved, _ = judge(planned.legs, book, under, MARGIN)
    held = dict(book.positions)
    for leg in approved:
        held[leg.symbol] = leg.reaches(held.get(leg.symbol, Decimal(0)))
        if leg.reduce_only:
            continue
        assert book.state is State.ACTIVE
        assert book.instruments[leg.symbol].trading
        reached = abs(held[leg.symbol])
        notional = reached * book.prices[leg.symbol]
        assert under.max_position is None or reached <= under.max_position
        assert under.max_notional is None or notional <= under.max_notional
        assert notional <= under.max_leverage * book.equity


@given(plans(), any_limits())
def test_a_symbol_with_a_refused_part_gets_no_later_part(drawn: tuple[Book, Plan], under: Limits) -> None:
    book, planned = drawn
    approved, refused = judge(planned.legs, book, under, MARGIN)
    for symbol in {one.leg.symbol for one in refused}:
        openings = [leg for leg in planned.legs if leg.symbol == symbol and not leg.reduce_only]
        kept = [leg for leg in approved if leg.symbol == symbol and not leg.reduce_only]
        assert openings[: len(kept)] == kept
