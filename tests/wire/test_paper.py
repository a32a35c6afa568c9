"""The imagined account: nothing is sent, nothing is lost over a restart, and it follows the exchange's rules."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.fakes import KEY, START, FakeClock, Reply, Shelf, scripted
from trader.domain.instrument import Bracket, Instrument
from trader.domain.order import OrderRequest
from trader.errors import JournalError, NotSent, OutcomeUnknown, Rejected
from trader.exchange.binance import BinanceGateway
from trader.exchange.imagined import Imagined, decode, encode
from trader.exchange.mapping import Funding
from trader.exchange.paper import PaperGateway
from trader.execution.fills import Costs

COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))
HOUR = dt.timedelta(hours=1)
ADA = Instrument(
    symbol="ADAUSDT",
    status="TRADING",
    tick=Decimal("0.0001"),
    step=Decimal("1"),
    min_quantity=Decimal("2"),
    max_quantity=Decimal("100000"),
    min_notional=Decimal("5"),
    brackets=(Bracket(Decimal(0), Decimal(10**9), 50, Decimal("0.01"), Decimal(0)),),
)
PRICE = Decimal("0.5")


def request(name: str, quantity: str, *, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(name, "ADAUSDT", Decimal(quantity), reduce_only)


def opened(leverage: int = 2) -> Imagined:
    account = Imagined.opened(Decimal(10000), COSTS)
    account.set_mode("ADAUSDT", leverage, "isolated")
    return account


def stamp(hours: int, rate: str = "0.001") -> Funding:
    return Funding("ADAUSDT", START + hours * HOUR, Decimal(rate), PRICE)


def test_money_in_the_wallet_is_the_sum_of_what_was_booked() -> None:
    account = opened()
    account.trade(request("a", "4000"), ADA, PRICE, START)
    account.fund(stamp(8))
    account.trade(request("b", "-4000", reduce_only=True), ADA, Decimal("0.55"), START + 9 * HOUR)
    account.trade(request("c", "-1000"), ADA, Decimal("0.55"), START + 9 * HOUR)
    assert account.ledger.wallet == 10000 + sum(income.amount for income in account.incomes)
    assert [income.kind for income in account.incomes] == [
        "COMMISSION", "FUNDING_FEE", "REALIZED_PNL", "COMMISSION", "COMMISSION",
    ]  # fmt: skip
    assert account.incomes[1].amount == -2
    numbers = [int(order.exchange_id) for order in account.orders]
    numbers += [int(fill.trade_id) for fill in account.fills]
    numbers += [int(income.id) for income in account.incomes]
    assert len(set(numbers)) == len(numbers) == account.number


def test_funding_told_after_the_position_changed_is_paid_on_what_was_held_at_its_stamp() -> None:
    account = opened()
    account.trade(request("a", "4000"), ADA, PRICE, START)
    account.trade(request("b", "-3000", reduce_only=True), ADA, PRICE, START + 8 * HOUR)
    account.fund(stamp(8))
    assert account.incomes[-1].amount == -2
    account.fund(stamp(16))
    assert account.incomes[-1].amount == Decimal("-0.5")


def test_funding_is_looked_for_as_long_as_some_may_have_been_stamped_while_held() -> None:
    account = opened()
    assert account.unfunded() == []
    account.trade(request("a", "4000"), ADA, PRICE, START)
    account.fund(stamp(8))
    account.trade(request("b", "-4000", reduce_only=True), ADA, PRICE, START + 10 * HOUR)
    assert account.unfunded() == ["ADAUSDT"]
    account.fund(stamp(16))
    assert account.unfunded() == []
    assert [income.kind for income in account.incomes].count("FUNDING_FEE") == 1
    account.trade(request("c", "4000"), ADA, PRICE, START + 100 * HOUR)
    assert account.funded["ADAUSDT"] == START + 100 * HOUR


@pytest.mark.parametrize("brackets", [ADA.brackets, ()])
@pytest.mark.parametrize("side", [1, -1])
def test_a_position_its_margin_no_longer_carries_is_taken_and_told(brackets: tuple, side: int) -> None:
    account = opened(leverage=5)
    account.trade(request("a", str(4000 * side)), ADA, PRICE, START)
    rules = Instrument(
        ADA.symbol, ADA.status, ADA.tick, ADA.step, ADA.min_quantity, ADA.max_quantity, ADA.min_notional, brackets
    )
    before = account.ledger.wallet
    assert not account.liquidate({"ADAUSDT": rules}, {"ADAUSDT": PRICE}, START + HOUR)
    assert account.liquidate({"ADAUSDT": rules}, {"ADAUSDT": PRICE * (1 - Decimal("0.21") * side)}, START + HOUR)
    assert not account.liquidate({}, {}, START + HOUR)
    assert account.account({}, START).positions == {}
    lost = before - account.ledger.wallet
    assert Decimal("399") < lost < Decimal("401")
    assert account.orders[-1].client_id.startswith("autoclose-")
    assert account.fills[-1].realised == account.incomes[-1].amount == -lost
    assert abs((account.fills[-1].price - account.fills[0].price) * -4000 * side - lost) < Decimal("0.001")


def test_a_basket_under_cross_margin_binds_one_wallet_and_is_taken_together() -> None:
    account = Imagined.opened(Decimal(1000), COSTS)
    rules = {"ADAUSDT": ADA, "XRPUSDT": replace(ADA, symbol="XRPUSDT")}
    for symbol in rules:
        account.set_mode(symbol, 5, "cross")
    account.trade(request("a", "4000"), ADA, PRICE, START)
    order = OrderRequest("b", "XRPUSDT", Decimal(-4000), False)
    marks = dict.fromkeys(rules, PRICE)
    account.trade(order, rules["XRPUSDT"], PRICE, START, marks)
    assert account.account(marks, START).available < 200
    with pytest.raises(Rejected):
        account.trade(OrderRequest("c", "XRPUSDT", Decimal(-2000), False), rules["XRPUSDT"], PRICE, START, marks)
    apart = {"ADAUSDT": Decimal("0.38"), "XRPUSDT": Decimal("0.62")}
    assert not account.liquidate(rules, {"ADAUSDT": Decimal("0.38"), "XRPUSDT": Decimal("0.45")}, START + HOUR)
    assert account.liquidate(rules, apart, START + HOUR)
    assert account.account({}, START).equity == 0
    assert {one.client_id for one in account.orders[-2:]} == {account.orders[-1].client_id}
    assert account.incomes[-1].kind == "INSURANCE_CLEAR"
    assert sum(income.amount for income in account.incomes) == -1000


@pytest.mark.parametrize(
    ("quantity", "reduce_only", "code"),
    [
        ("2.5", False, -1111),
        ("1", True, -4003),
        ("100001", False, -4005),
        ("9", False, -4164),
        ("50000", False, -2019),
        ("-20", True, -2022),
    ],
)
def test_the_rules_are_kept_with_the_exchanges_codes(quantity: str, reduce_only: bool, code: int) -> None:
    with pytest.raises(Rejected) as raised:
        opened().trade(request("a", quantity, reduce_only=reduce_only), ADA, PRICE, START)
    assert raised.value.code == code


def test_a_month_old_story_is_forgotten_but_never_the_position() -> None:
    account = opened()
    account.trade(request("a", "100"), ADA, PRICE, START)
    account.trade(request("b", "100"), ADA, PRICE, START + dt.timedelta(days=40))
    assert [order.client_id for order in account.orders] == ["b"]
    assert account.ledger.quantity("ADAUSDT") == 200


trades = st.lists(st.tuples(st.integers(-3000, 3000), st.integers(3000, 9000), st.integers(0, 40)), max_size=12)


@given(trades)
def test_an_account_comes_back_from_its_text_exactly(plan: list[tuple[int, int, int]]) -> None:
    account = opened()
    time = START
    for number, (quantity, price, hours) in enumerate(plan):
        time += hours * HOUR
        try:
            account.trade(request(f"n{number}", str(quantity)), ADA, Decimal(price) / 10000, time)
            account.fund(Funding("ADAUSDT", time, Decimal(price) / 10**8, Decimal(price) / 10000))
        except Rejected:
            account = decode(encode(opened()))
        assert decode(encode(account)) == account
        assert encode(decode(encode(account))) == encode(account)


@pytest.mark.parametrize("text", ["", "{}", "null", '{"ledger": 1}'])
def test_an_account_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(JournalError, match="new data directory"):
        decode(text)


INFO = {
    "rateLimits": [],
    "symbols": [
        {
            "symbol": "ADAUSDT",
            "status": "TRADING",
            "contractType": "PERPETUAL",
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.0001"},
                {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "1000000"},
                {"filterType": "MARKET_LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "1000000"},
                {"filterType": "MIN_NOTIONAL", "notional": "5"},
            ],
        }
    ],
}
TIERS = [
    {
        "symbol": "ADAUSDT",
        "brackets": [
            {"initialLeverage": 50, "notionalFloor": 0, "notionalCap": 10**9, "maintMarginRatio": 0.01, "cum": 0}
        ],
    }
]
MARK = {"symbol": "ADAUSDT", "markPrice": "0.5"}


def paper(*script: object, key: str = KEY, shelf: Shelf | None = None):
    gateway, session, clock = scripted(*script, key=key)
    shelf = shelf or Shelf()
    return PaperGateway(gateway, clock, shelf, equity=Decimal(5000), costs=COSTS), session, clock, shelf


async def test_with_a_key_an_order_is_validated_and_never_sent() -> None:
    gateway, session, _, shelf = paper(Reply({}), Reply(INFO), Reply(TIERS), Reply(MARK))
    order = await gateway.send(request("a", "1000"))
    assert (order.status, order.filled, str(order.average_price)) == ("FILLED", 1000, "0.5001")
    assert [path for path in session.paths() if path.startswith("POST")] == ["POST /fapi/v1/order/test"]
    assert await gateway.find("ADAUSDT", "a") == order
    assert await gateway.find_by_exchange_id("ADAUSDT", order.exchange_id) == order
    assert shelf.writes == 1


async def test_without_a_key_an_order_is_imagined_all_the_same() -> None:
    gateway, session, _, _ = paper(Reply(INFO), Reply(MARK), key="")
    await gateway.send(request("a", "1000"))
    assert session.paths() == ["GET /fapi/v1/exchangeInfo", "GET /fapi/v1/premiumIndex"]


async def test_what_the_exchange_says_of_the_real_account_is_not_about_the_imagined_one() -> None:
    for code in (-2019, -2022):
        gateway, _, _, _ = paper(Reply({"code": code, "msg": "no"}, 400), Reply(INFO), Reply(TIERS), Reply(MARK))
        assert (await gateway.send(request("a", "1000"))).done


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply({"code": -1111, "msg": "Precision"}, 400), Rejected),
        (Reply({"code": -4061, "msg": "position side"}, 400), Rejected),
        (Reply("<html/>", 502), NotSent),
        (TimeoutError(), NotSent),
    ],
)
async def test_an_order_that_is_not_valid_or_not_validated_changes_nothing(answer: object, kind: type) -> None:
    gateway, _, _, shelf = paper(answer)
    with pytest.raises(kind):
        await gateway.send(request("a", "1000"))
    assert shelf.writes == 0
    assert await gateway.fills("ADAUSDT") == []


async def test_an_imagined_order_survives_a_restart_and_is_not_imagined_twice() -> None:
    gateway, _, _, shelf = paper(Reply({}), Reply(INFO), Reply(TIERS), Reply(MARK))
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    await gateway.set_leverage("ADAUSDT", 3)
    order = await gateway.send(request("a", "1000"))
    again, session, _, _ = paper(shelf=shelf)
    assert await again.find("ADAUSDT", "a") == order
    setup = await again.setup("ADAUSDT")
    assert (setup.leverage, setup.margin_mode, setup.hedge_mode, setup.can_trade) == (3, "isolated", False, True)
    with pytest.raises(OutcomeUnknown) as raised:
        await again.send(request("a", "1000"))
    assert raised.value.code == -4116
    assert session.requests == []


async def test_a_refused_order_leaves_the_account_as_it_was() -> None:
    gateway, _, _, shelf = paper(Reply(INFO), Reply(MARK), Reply(MARK), key="")
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    kept = shelf.text
    with pytest.raises(Rejected):
        await gateway.send(request("a", "900000"))
    assert shelf.text == kept
    assert (await gateway.account()).equity == 5000


async def test_funding_the_exchange_states_is_booked_before_the_account_is_told() -> None:
    ms = round((START + 8 * HOUR).timestamp() * 1000)
    row = {"symbol": "ADAUSDT", "fundingTime": ms, "fundingRate": "0.001", "markPrice": "0.6"}
    later = row | {"fundingTime": ms + 8 * 3_600_000}
    gateway, session, clock, _ = paper(
        Reply(INFO), Reply(MARK), Reply([row, later]), Reply(MARK), *[Reply([]), Reply(MARK)] * 2, key=""
    )
    await gateway.send(request("a", "1000"))
    clock.time = START + 9 * HOUR
    account = await gateway.account()
    assert account.wallet == 5000 - Decimal("0.25005") - Decimal("0.6")
    assert account.equity == account.wallet + account.positions["ADAUSDT"].unrealised
    assert [income.kind for income in await gateway.incomes(START)] == ["COMMISSION", "FUNDING_FEE"]
    assert [income.amount for income in await gateway.incomes(START + HOUR)] == [Decimal("-0.6")]
    assert f"startTime={ms + 1}&" in session.requests[-2][1]


async def test_a_failed_look_at_funding_books_nothing() -> None:
    gateway, _, clock, shelf = paper(Reply(INFO), Reply(MARK), *[Reply("", 502)] * 5, key="")
    await gateway.send(request("a", "1000"))
    clock.time = START + 9 * HOUR
    kept = shelf.text
    with pytest.raises(Exception, match="fundingRate"):
        await gateway.account()
    assert shelf.text == kept


async def test_orders_never_rest_and_other_symbols_are_left_alone() -> None:
    gateway, _, _, _ = paper(Reply(INFO), Reply(MARK), key="")
    order = await gateway.send(request("a", "1000"))
    assert await gateway.open_orders() == []
    assert await gateway.fills("XRPUSDT") == []
    (fill,) = await gateway.fills("ADAUSDT", order=order)
    assert await gateway.fills("ADAUSDT", since=fill.trade_id) == []
    await gateway.close()


@pytest.mark.parametrize(
    ("limit", "filled", "status"), [("0.51", "600", "FILLED"), ("0.5002", "300", "EXPIRED"), ("0.5", "0", "EXPIRED")]
)
def test_an_imagined_limit_takes_what_its_price_reaches_and_never_rests(limit: str, filled: str, status: str) -> None:
    account = Imagined.opened(Decimal(10000), Costs(Decimal(0), Decimal("0.0006"), Decimal("0.0002")))
    order = account.trade(OrderRequest("a", "ADAUSDT", Decimal(600), False, Decimal(limit)), ADA, PRICE, START)
    # the best price is 0.5001, a market order would pay 0.5004
    assert (order.filled, order.status) == (Decimal(filled), status)
    assert account.ledger.quantity("ADAUSDT") == Decimal(filled)


@pytest.mark.parametrize(
    ("limit", "quantity", "code"), [("0.50005", 600, -4014), ("0.7", 600, -4016), ("0.3", -600, -4024)]
)
def test_an_imagined_limit_is_refused_as_the_exchange_would(limit: str, quantity: int, code: int) -> None:
    rules = replace(ADA, multiplier_up=Decimal("1.1"), multiplier_down=Decimal("0.9"))
    with pytest.raises(Rejected) as refused:
        opened().trade(OrderRequest("a", "ADAUSDT", Decimal(quantity), False, Decimal(limit)), rules, PRICE, START)
    assert refused.value.code == code


class Market:
    """A market that is slow to answer: meanwhile something else may happen, once."""

    keyed = False

    def __init__(self) -> None:
        self.stamps: list[Funding] = []
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []
        self.price = PRICE
        self.untold: set[str] = set()

    async def fundings(self, since: Mapping[str, dt.datetime]) -> list[Funding]:
        told = [one for one in self.stamps if one.symbol in since and one.time >= since[one.symbol]]
        while self.meanwhile:
            await self.meanwhile.pop()()
        return told

    async def prices(self, symbols: Sequence[str]) -> dict[str, Decimal]:
        await asyncio.sleep(0)
        return {symbol: self.price for symbol in symbols if symbol not in self.untold}

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        return {symbol: replace(ADA, symbol=symbol) for symbol in symbols}


async def test_two_orders_at_once_lose_no_fill_and_book_no_funding_twice() -> None:
    market, clock = Market(), FakeClock()
    gateway = PaperGateway(cast(BinanceGateway, market), clock, Shelf(), equity=Decimal(5000), costs=COSTS)
    await gateway.send(request("held", "1000"))
    clock.time = START + 9 * HOUR
    market.stamps = [stamp(8)]
    market.meanwhile = [lambda: gateway.send(OrderRequest("a", "BUSDT", Decimal(100), reduce_only=False))]
    await gateway.send(OrderRequest("b", "CUSDT", Decimal(100), reduce_only=False))
    assert await gateway.find("BUSDT", "a") is not None
    account = await gateway.account()
    held = {symbol: position.quantity for symbol, position in account.positions.items()}
    assert held == {"ADAUSDT": 1000, "BUSDT": 100, "CUSDT": 100}
    assert [income.kind for income in await gateway.incomes(START)].count("FUNDING_FEE") == 1


async def test_what_is_held_and_has_no_price_now_is_carried_at_the_last_one_or_at_what_it_cost() -> None:
    market, clock, shelf = Market(), FakeClock(), Shelf()

    def opened() -> PaperGateway:
        return PaperGateway(cast(BinanceGateway, market), clock, shelf, equity=Decimal(5000), costs=COSTS)

    gateway = opened()
    for name, symbol in (("a", "ADAUSDT"), ("b", "BUSDT")):
        await gateway.send(OrderRequest(name, symbol, Decimal(100), reduce_only=False))
    paid = (await gateway.account()).positions["BUSDT"].entry_price
    market.price = 2 * PRICE
    assert (await gateway.account()).positions["BUSDT"].unrealised == 100 * (2 * PRICE - paid)
    market.price, market.untold = 3 * PRICE, {"BUSDT"}
    async with asyncio.timeout(5):
        positions = (await gateway.account()).positions
        assert positions["BUSDT"].unrealised == 100 * (2 * PRICE - paid)
        assert positions["ADAUSDT"].unrealised == 100 * (3 * PRICE - paid)
        assert (await opened().account()).positions["BUSDT"].unrealised == 0
