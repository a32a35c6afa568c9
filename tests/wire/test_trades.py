"""Trades, bookings and orders at rest: paged to the end, nothing twice, nothing lost."""

import asyncio
import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.fakes import FILLED, START, FakeSession, Reply, scripted
from trader.errors import ExchangeError
from trader.exchange import binance
from trader.exchange.answers import OrderAnswer
from trader.exchange.mapping import order_of

T0 = round(START.timestamp() * 1000)
ORDER = order_of(OrderAnswer.model_validate(FILLED))


def trade(number: int, order: int = 7, **changes: object) -> dict:
    return {
        "id": number,
        "orderId": order,
        "symbol": "ADAUSDT",
        "side": "SELL" if number % 2 else "BUY",
        "qty": "5",
        "price": "0.6",
        "commission": "0.0015",
        "commissionAsset": "USDT",
        "realizedPnl": "-0.5",
        "time": T0 + number // 3,
    } | changes


def income(number: int, at: int, kind: str = "COMMISSION", **changes: object) -> dict:
    return {
        "tranId": number,
        "incomeType": kind,
        "symbol": "ADAUSDT",
        "income": "-0.25",
        "asset": "USDT",
        "time": at,
        "tradeId": str(number),
    } | changes


class History(FakeSession):
    """Answers trades and bookings as Binance pages them."""

    def __init__(self, rows: list[dict]) -> None:
        super().__init__([])
        self.rows = rows

    def get(self, url: object, **_: object) -> object:
        asked = dict(pair.split("=") for pair in str(url).split("?")[1].split("&"))
        rows = self.rows
        if "orderId" in asked:
            assert "fromId" not in asked
            rows = [row for row in rows if row["orderId"] == int(asked["orderId"])]
        if "fromId" in asked:
            rows = [row for row in rows if row["id"] >= int(asked["fromId"])]
        if "startTime" in asked:
            rows = [row for row in rows if row["time"] >= int(asked["startTime"])]
        limit, page = int(asked["limit"]), int(asked.get("page", 1))
        self.script.append(Reply(rows[(page - 1) * limit : page * limit]))
        return super().get(url)


def history(rows: list[dict]):
    gateway, _, _ = scripted()
    session = History(rows)
    gateway._calls.wire.session = session
    return gateway, session


@pytest.mark.fault(82)
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
async def test_all_trades_after_one_are_paged_to_the_end(count: int) -> None:
    gateway, session = history([trade(number) for number in range(1, count + 1)])
    fills = await gateway.fills("ADAUSDT", since="0")
    assert [fill.trade_id for fill in fills] == [str(number) for number in range(1, count + 1)]
    assert len(session.requests) == count // 1000 + 1
    assert await gateway.fills("ADAUSDT") == fills
    assert await gateway.fills("ADAUSDT", since=str(count)) == []


async def test_the_trades_of_an_order_are_complete_even_beyond_a_page() -> None:
    rows = [trade(number, order=4000000001 if number % 5 else 8) for number in range(1, 3000)]
    gateway, _ = history(rows)
    fills = await gateway.fills("ADAUSDT", order=ORDER)
    assert [int(fill.trade_id) for fill in fills] == [row["id"] for row in rows if row["id"] % 5]


@pytest.mark.fault(39)
async def test_a_trade_told_twice_is_one_fill_with_a_sign() -> None:
    gateway, _ = history([trade(1), trade(1), trade(2)])
    sold, bought = await gateway.fills("ADAUSDT", since="0")
    assert (sold.quantity, bought.quantity, str(sold.fee), str(sold.realised)) == (-5, 5, "0.0015", "-0.5")


async def test_a_fee_in_another_coin_is_not_counted_as_money_and_loses_no_trade() -> None:
    gateway, _ = history([trade(1, commissionAsset="BNB", commission="0"), trade(2, commissionAsset="BNB"), trade(3)])
    free, burnt, plain = await gateway.fills("ADAUSDT")
    assert (free.fee, free.paid) == (0, None)
    assert (burnt.fee, burnt.paid) == (0, (Decimal("0.0015"), "BNB"))
    assert (str(plain.fee), plain.paid) == ("0.0015", None)


@pytest.mark.parametrize("name", ["id", "orderId", "qty", "price", "commission", "realizedPnl", "time", "side"])
async def test_a_trade_with_something_missing_is_an_error(name: str) -> None:
    row = {key: value for key, value in trade(1).items() if key != name}
    gateway, _, _ = scripted(*[Reply([row])] * 5)
    with pytest.raises(ExchangeError, match=name):
        await gateway.fills("ADAUSDT")


@pytest.mark.parametrize("count", [0, 999, 1000, 2500])
@pytest.mark.parametrize("together", [1, 7, 400])
async def test_every_booking_is_told_once_however_pages_overlap(count: int, together: int) -> None:
    rows = [
        income(number // 2, T0 + number // together, "COMMISSION" if number % 2 else "REALIZED_PNL")
        for number in range(count)
    ]
    gateway, _ = history(rows)
    told = await gateway.incomes(START)
    assert len(told) == count
    assert len({(row.id, row.kind) for row in told}) == count
    assert [row.time for row in told] == sorted(row.time for row in told)


async def test_bookings_before_the_asked_moment_or_in_other_coins_are_left_out() -> None:
    gateway, _ = history(
        [income(1, T0 - 1), income(2, T0), income(3, T0, asset="BNB"), income(4, T0, "TRANSFER", symbol="")]
    )
    assert [row.id for row in await gateway.incomes(START)] == ["2", "4"]
    assert [row.id for row in await gateway.incomes(START + dt.timedelta(milliseconds=1))] == []


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2500])
@pytest.mark.parametrize("before", [0, 1, 700])
async def test_more_bookings_of_one_time_than_a_page_holds_are_all_told_once(count: int, before: int) -> None:
    rows = [income(number, T0) for number in range(before)]
    rows += [income(before + number, T0 + 1000) for number in range(count)]
    rows += [income(before + count + number, T0 + 2000) for number in range(1300)]
    gateway, _ = history(rows)
    told = await gateway.incomes(START)
    assert [row.id for row in told] == [str(number) for number in range(len(rows))]


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15)), max_size=8))
def test_every_booking_is_told_once_whatever_a_page_holds(size: int, seconds: list[tuple[int, int]]) -> None:
    rows, at = [], T0
    for gap, count in seconds:
        at += 1000 * gap
        # a closing trade books its profit and its fee under one number
        rows += [
            income(number // 2, at, "COMMISSION" if number % 2 else "REALIZED_PNL")
            for number in range(len(rows), len(rows) + count)
        ]
    gateway, _ = history(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance, "_PAGE", size)
        told = asyncio.run(gateway.incomes(START))
    assert sorted((int(row.id), row.kind) for row in told) == sorted((row["tranId"], row["incomeType"]) for row in rows)


async def test_bookings_of_one_time_without_end_are_an_error() -> None:
    gateway, session = history([])
    session.get = lambda url, **_: FakeSession([Reply([income(number, T0) for number in range(1000)])]).get(url)
    with pytest.raises(ExchangeError, match="which is not believed"):
        await gateway.incomes(START)


async def test_orders_at_rest_include_conditional_ones() -> None:
    algo = {
        "algoId": 9,
        "clientAlgoId": "web_stop",
        "symbol": "ADAUSDT",
        "algoStatus": "NEW",
        "side": "SELL",
        "quantity": "25",
        "reduceOnly": True,
        "createTime": T0,
    }
    gateway, session, _ = scripted(Reply([FILLED | {"status": "NEW", "executedQty": "0"}]), Reply([algo]))
    plain, conditional = await gateway.open_orders()
    assert (plain.quantity, plain.done) == (25, False)
    assert (conditional.client_id, conditional.quantity, conditional.reduce_only) == ("web_stop", -25, True)
    assert session.paths() == ["GET /fapi/v1/openOrders", "GET /fapi/v1/openAlgoOrders"]
