"""Every order planned for any symbol the exchange ever listed in the captures is one it would take."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.exchange_rules import broken
from trader.domain.decision import Book, Decision, Leg, State
from trader.domain.instrument import Instrument
from trader.domain.order import OrderRequest, client_id
from trader.errors import ExchangeError, Rejected
from trader.exchange import answers
from trader.exchange.mapping import brackets_of, instrument_of, order_parameters
from trader.execution.plan import chosen_leverages, plan
from trader.execution.remainder import Rules, Short, following

CAPTURES = ("exchangeInfo_mainnet_2021-09-06.json", "exchangeInfo_testnet_2025-03-06.json")
TABLES = "leverageBracket_2024-10.json"
CLOSE = datetime(2024, 1, 2, tzinfo=UTC)
WISHED = 20
THOUSANDTHS = st.integers(5_000, 10**10).map(Decimal)
SHARES = st.integers(0, 1_000).map(lambda number: Decimal(number) / 1_000)


@dataclass(frozen=True)
class Listed:
    """One captured row, the leverage tiers captured of its symbol, and what we read out of both."""

    row: Mapping[str, Any]
    tiers: list[Mapping[str, Any]]
    rules: Instrument


def listed(folder: Path) -> Iterator[Listed]:
    tables = {row["symbol"]: row["brackets"] for row in json.loads((folder / TABLES).read_text())}
    for name in CAPTURES:
        for row in json.loads((folder / name).read_text())["symbols"]:
            tiers = tables.get(row["symbol"], [])
            brackets = (
                brackets_of(answers.read(answers.BRACKETS, [{"symbol": "X", "brackets": tiers}], name)[0].brackets)
                if tiers
                else ()
            )
            try:
                rules = instrument_of(answers.read(answers.SYMBOL, row, name), brackets, name)
            except ExchangeError:
                assert row["status"] != "TRADING", row["symbol"]
                continue
            yield Listed(row, tiers, rules)


@pytest.fixture(scope="module")
def everything(shared: Path) -> list[Listed]:
    return list(listed(shared / "binance"))


def priced(one: Listed) -> Iterator[tuple[Decimal, Decimal | None]]:
    """From a price of few ticks to a dear one, with more decimals than the tick, for market and for bounded orders."""
    for ticks, slippage in (("37.3", Decimal("0.05")), ("1234.5", None), ("98765.4", Decimal("0.003"))):
        price = one.rules.tick * Decimal(ticks)
        if one.rules.min_price <= price <= one.rules.max_price / 2:
            yield price, slippage


def book(one: Listed, price: Decimal, held: Decimal, equity: Decimal) -> Book:
    positions = {one.rules.symbol: held} if held else {}
    symbol = one.rules.symbol
    return Book(equity, equity, positions, {symbol: price}, {symbol: one.rules}, State.ACTIVE)


def sent(legs: tuple[Leg, ...] | list[Leg]) -> Iterator[tuple[Leg, dict[str, Any]]]:
    """Return each leg with the parameters that would be posted for it."""
    for number, leg in enumerate(legs):
        name = client_id("live/main/any", CLOSE, leg.symbol, leg.kind, number)
        yield leg, dict(order_parameters(OrderRequest(name, leg.symbol, leg.quantity, leg.reduce_only, leg.limit)))


def violations(
    one: Listed, target: float, at: Book, slippage: Decimal | None, *, reopen: bool = False
) -> tuple[list[str], int]:
    """Plan, walk the orders as if each were filled; return what the exchange would refuse, and how many there are."""
    symbol, price = one.rules.symbol, at.prices[one.rules.symbol]
    planned = plan({symbol: target}, at, 0.0, slippage, reopen=reopen)
    legs = planned.legs if one.rules.trading else tuple(leg for leg in planned.legs if leg.reduce_only)
    decision = Decision(CLOSE, {}, {}, planned.quantities, legs, (), State.ACTIVE, "")
    leverage = chosen_leverages(decision, at.prices, at.instruments, WISHED).get(symbol, 1)
    held, found = at.positions.get(symbol, Decimal(0)), []
    for leg, order in sent(legs):
        codes = broken(order, one.row, price, held, leverage, one.tiers)
        if codes:
            found.append(f"{symbol} {sorted(codes)}: {order} at {price} holding {held}")
        held = leg.reaches(held)
    assert held == planned.quantities[symbol] or not one.rules.trading
    return found, len(legs)


@pytest.mark.fault(48)
def test_every_order_planned_for_any_captured_symbol_is_valid(everything: list[Listed]) -> None:
    bad: list[str] = []
    count = orders = 0
    for one in everything:
        largest, least = one.rules.max_quantity, one.rules.least
        holdings = (Decimal(0), least, -largest, largest * Decimal("2.5"), -(least + one.rules.step / 3))
        wishes = (Decimal(0), least * Decimal("0.6"), least * Decimal("3.3"), -largest * Decimal("2.5"))
        for (price, slippage), held, wish in product(priced(one), holdings, wishes):
            at = book(one, price, held, max(abs(wish), least) * price)
            found, legs = violations(one, float((wish > 0) - (wish < 0)), at, slippage)
            bad += found
            count += 1
            orders += legs
    assert bad == []
    assert len(everything) > 500
    assert count > 20_000
    assert orders > 40_000


@given(data=st.data())
def test_every_order_that_may_be_drawn_is_valid(everything: list[Listed], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(everything))
    rules = one.rules
    ticks = min(data.draw(THOUSANDTHS) / 1000, rules.max_price / rules.tick / 2)
    held = rules.quantity(data.draw(st.integers(-3, 3)) * rules.steps(rules.max_quantity) // 2)
    held += rules.step * data.draw(st.sampled_from([Decimal(0), Decimal("0.25"), Decimal(7)]))
    equity = max(rules.least, rules.max_quantity * data.draw(SHARES)) * rules.tick * ticks
    at = book(one, rules.tick * ticks, held, equity)
    slippage = data.draw(st.none() | SHARES.map(lambda share: (share + Decimal("0.001")) / 5))
    assert violations(one, data.draw(st.floats(-20, 20)), at, slippage, reopen=data.draw(st.booleans()))[0] == []


@given(data=st.data())
def test_every_order_that_follows_on_another_is_valid_under_the_rules_of_then(
    everything: list[Listed], data: st.DataObject
) -> None:
    """Faults 41 and 48: the rules are another symbol's by the time the order ends."""
    one = data.draw(st.sampled_from([one for one in everything if one.rules.trading]))
    rules = one.rules
    mark = rules.tick * min(data.draw(THOUSANDTHS) / 1000, rules.max_price / rules.tick / 2)
    quantity = Decimal(data.draw(st.integers(-(10**14), 10**14).filter(bool))) / 100_000
    reduce_only = data.draw(st.booleans())
    held = (
        quantity * data.draw(st.sampled_from([Decimal(-1), Decimal("-0.4"), Decimal("-3")]))
        if reduce_only
        else Decimal(0)
    )
    limit = data.draw(st.none() | st.sampled_from([mark, mark * Decimal("1.02"), mark * Decimal("0.97")]))
    filled = quantity * data.draw(st.sampled_from([Decimal(0), Decimal("0.001"), Decimal("0.5")]))
    refusal = None if filled else Rejected("", code=data.draw(st.sampled_from([-1111, -2019, -4014, -4164, -4005])))
    short = Short(quantity, limit, reduce_only, filled, refusal)
    if not reduce_only:
        held = filled
    else:
        held += filled
    found = following(short, Rules(smaller=Decimal("0.5")), held, rules, mark)
    if found is None:
        return
    more, bound = found
    assert abs(more) <= max(abs(quantity - filled), rules.least)
    order = order_parameters(OrderRequest("t.f1000", rules.symbol, more, reduce_only, bound))
    leverage = rules.leverage(abs(held + more) * mark, WISHED)
    assert broken(order, one.row, mark, held, leverage, one.tiers) == set()


def test_the_exchange_s_rules_are_told_apart_by_the_validator(everything: list[Listed]) -> None:
    one = next(one for one in everything if one.rules.symbol == "ADAUSDT" and one.tiers and one.rules.trading)
    mark = Decimal("0.5")
    good = dict(order_parameters(OrderRequest("t.1", "ADAUSDT", Decimal(100), False, Decimal("0.5"))))
    plain = dict(order_parameters(OrderRequest("t.1", "ADAUSDT", Decimal(100), False)))

    def codes(
        order: Mapping[str, Any], held: str = "0", leverage: int = 2, status: str = "TRADING", **more: Any
    ) -> set[int]:
        return broken({**order, **more}, {**one.row, "status": status}, mark, Decimal(held), leverage, one.tiers)

    assert codes(good) == codes(plain) == set()
    assert codes(plain, quantity="0.5") >= {-1111, -4023}
    assert codes(plain, quantity="0") >= {-4003, -4004, -4164}
    assert -4005 in codes(plain, quantity="100000000000")
    assert codes(plain, quantity="1") == {-4164}
    assert codes(plain, quantity="1", reduceOnly="true", side="SELL", held="5") == set()
    assert codes(plain, reduceOnly="true") == {-2022}
    assert codes(plain, status="SETTLING") == {-4140}
    assert codes(plain, leverage=124) == {-4028}
    assert -2027 in codes(plain, held="90000000", leverage=20)
    assert codes(plain, symbol="XRPUSDT") == {-1121}
    assert codes(plain, newClientOrderId="not allowed") == {-4015}
    assert codes(good, price="0.50001") == {-4014}
    assert codes(good, price="0.9") == {-4016}
    assert codes(good, price="0.1", side="SELL") == {-4024}
    assert codes(good, timeInForce="DAY") == {-1115}
    assert codes(plain, type="NONSENSE") >= {-1116}
