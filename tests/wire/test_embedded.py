"""Against the embedded exchange: its own process, real TLS, its clock, and its faults."""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from tests.wire.fakes import Shelf
from trader.domain.interval import Interval
from trader.domain.order import OrderRequest
from trader.domain.stop import StopRequest
from trader.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.exchange import binance
from trader.exchange.binance import BinanceGateway
from trader.exchange.clock import StepClock, from_milliseconds
from trader.exchange.factory import open_gateway
from trader.exchange.loopback import Loopback, open_session
from trader.exchange.paper import PaperGateway
from trader.execution.fills import Costs

EVERY_16H = Interval.parse("16h")
COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))


class Process:
    """A running embedded exchange."""

    def __init__(self, folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "trader.sim",
            "--dir",
            str(folder / "exchange"),
            "--pipe",
            "--clock",
            "stepped",
        ]
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        self.ready = json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


class Embedded:
    """A clock and gateways of ours on a running exchange."""

    def __init__(self, process: Process) -> None:
        self.ready = process.ready
        self.loopback = Loopback(self.ready["port"], Path(self.ready["ca"]))
        start = from_milliseconds(self.ready["venue_time"])
        self.clock = StepClock(self.loopback, control=self.ready["control"], start=start, speed=None)
        self.gateway = self.open()

    def open(self, *, venue: str = "sim", secret: str | None = None, keyed: bool = True) -> BinanceGateway:
        key, secret = (self.ready["api_key"], secret or self.ready["api_secret"]) if keyed else ("", "")
        return open_gateway(venue, key=key, secret=secret, clock=self.clock, loopback=self.loopback)

    async def control(self, method: str, path: str, body: object = None) -> dict:
        async with open_session(self.loopback) as session:
            headers = {"X-Sim-Control": self.ready["control"]}
            async with session.request(
                method, f"https://localhost/sim/v1/{path}", json=body, headers=headers
            ) as response:
                assert response.status == 200, await response.text()
                return await response.json()

    async def fault(self, do: str, path: str = "POST /fapi/v1/order", **more: object) -> None:
        seen = (await self.control("GET", "ledger"))["counts"].get(path, 0)
        await self.control("POST", "faults", [{"on": {"path": path, "nth": seen + 1}, "do": do, **more}])

    async def close(self) -> None:
        await self.gateway.close()
        await self.clock.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    one = Process(tmp_path)
    yield one
    one.end()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tmp_path_factory.mktemp("lasting"))
    yield one
    one.end()


@pytest_asyncio.fixture
async def embedded(process: Process) -> AsyncIterator[Embedded]:
    one = Embedded(process)
    yield one
    await one.close()


@pytest_asyncio.fixture
async def faulty(lasting: Process) -> AsyncIterator[Embedded]:
    """One exchange for many tests, each with its own orders."""
    one = Embedded(lasting)
    await one.gateway.sync_clock()
    yield one
    await one.close()


def request(name: str, quantity: int, *, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(f"twire.{name}", "ADAUSDT", Decimal(quantity), reduce_only)


async def test_a_day_in_the_life_of_the_gateway(embedded: Embedded) -> None:
    gateway, clock = embedded.gateway, embedded.clock
    assert abs(await gateway.sync_clock()) < dt.timedelta(milliseconds=2)
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    await gateway.set_leverage("ADAUSDT", 2)
    setup = await gateway.setup("ADAUSDT")
    assert (setup.leverage, setup.margin_mode, setup.hedge_mode, setup.can_trade) == (2, "isolated", False, True)
    rules = (await gateway.instruments(["ADAUSDT"]))["ADAUSDT"]
    assert rules.trading
    assert rules.brackets
    begin = clock.now()
    order = await gateway.send(request("o0", -1000))
    assert (order.status, order.filled, order.done) == ("FILLED", -1000, True)
    assert await gateway.find("ADAUSDT", "twire.o0") == order
    assert await gateway.find_by_exchange_id("ADAUSDT", order.exchange_id) == order
    assert await gateway.find("ADAUSDT", "twire.none") is None
    (fill,) = await gateway.fills("ADAUSDT", order=order)
    assert await gateway.fills("ADAUSDT") == [fill]
    assert await gateway.fills("ADAUSDT", since=fill.trade_id) == []
    await clock.sleep_until(begin + dt.timedelta(hours=16, minutes=1))
    account = await gateway.account()
    assert account.quantity("ADAUSDT") == -1000
    assert account.positions["ADAUSDT"].entry_price == order.average_price
    incomes = await gateway.incomes(begin)
    assert {income.kind for income in incomes} == {"COMMISSION", "FUNDING_FEE"}
    assert account.wallet == 10000 + sum(income.amount for income in incomes)
    assert account.equity == account.wallet + account.positions["ADAUSDT"].unrealised
    assert await gateway.open_orders() == []


async def test_bookings_of_one_time_are_all_told_however_few_a_page_holds(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, begin = embedded.gateway, embedded.clock.now()
    for number in range(3):
        await gateway.send(request(f"i{number}", 100))
        await gateway.send(request(f"c{number}", -100, reduce_only=True))
    told = await gateway.incomes(begin)
    assert len(told) > len({income.time for income in told})
    for size in (1, 2, len(told)):
        monkeypatch.setattr(binance, "_PAGE", size)
        assert await gateway.incomes(begin) == told


async def test_candles_are_those_that_are_closed_by_the_exchanges_clock(embedded: Embedded) -> None:
    gateway, clock = embedded.gateway, embedded.clock
    close = EVERY_16H.following(clock.now())
    for moment in (close - dt.timedelta(milliseconds=5), close, close + dt.timedelta(minutes=5)):
        await clock.sleep_until(moment)
        frame, _ = await gateway.candles(["ADAUSDT"], EVERY_16H, 30)
        assert frame["close_time"].to_list()[-1] == EVERY_16H.floor(moment)
        assert len(frame) == 30


async def test_refusals_carry_their_codes(embedded: Embedded) -> None:
    gateway = embedded.gateway
    for quantity, reduce_only, code in ((1, False, -4164), (10_000_000, False, -2019), (5, True, -2022)):
        with pytest.raises(Rejected) as raised:
            await gateway.send(request("r", quantity, reduce_only=reduce_only))
        assert raised.value.code == code
    with pytest.raises(Rejected) as raised:
        await gateway.send(OrderRequest("twire.r", "ADAUSDT", Decimal("20.5"), False))
    assert raised.value.code == -1111
    stranger = embedded.open(secret="0" * 64)
    with pytest.raises(Rejected) as raised:
        await stranger.account()
    assert raised.value.code == -1022
    await stranger.close()


async def test_a_stop_is_placed_found_cancelled_and_triggered(embedded: Embedded) -> None:
    gateway = embedded.gateway
    await gateway.sync_clock()
    await gateway.send(request("stop.o0", 500))
    price = (await gateway.prices(["ADAUSDT"]))["ADAUSDT"]
    rules = (await gateway.instruments(["ADAUSDT"]))["ADAUSDT"]
    trigger = rules.round_price(price * Decimal("0.8"), up=True)
    first, second = (StopRequest(f"twire.stop.s{turn}", "ADAUSDT", Decimal(-500), trigger) for turn in range(2))
    placed = await gateway.place_stop(first)
    assert await gateway.find_stop("ADAUSDT", first.client_id) == placed
    with pytest.raises(Rejected) as twin:
        await gateway.place_stop(second)
    assert twin.value.code == -4130
    gateway.list_conditional()
    assert [order.client_id for order in await gateway.open_orders()] == [first.client_id]
    await gateway.cancel_stop("ADAUSDT", first.client_id)
    await gateway.cancel_stop("ADAUSDT", first.client_id)
    cancelled = await gateway.find_stop("ADAUSDT", first.client_id)
    assert cancelled is not None
    assert cancelled.status == "CANCELED"
    await gateway.place_stop(second)
    await embedded.control("POST", "events", {"do": "trigger", "symbol": "ADAUSDT"})
    done = await gateway.find_stop("ADAUSDT", second.client_id)
    assert done is not None
    assert done.status == "FINISHED"
    assert done.order_id is not None
    order = await gateway.find_by_exchange_id("ADAUSDT", done.order_id)
    assert order is not None
    assert (order.quantity, order.filled, order.status) == (-500, -500, "FILLED")
    assert (await gateway.account()).positions == {}
    assert await gateway.find_stop("ADAUSDT", "twire.stop.s9") is None


@pytest.mark.fault(77)
@pytest.mark.parametrize(
    ("do", "more", "kind", "executed"),
    [
        ("lose_answer", {}, OutcomeUnknown, True),
        ("drop_request", {}, OutcomeUnknown, False),
        ("unknown_503_executed", {}, OutcomeUnknown, True),
        ("unknown_503_not_executed", {}, OutcomeUnknown, False),
        ("timeout_1007_executed", {}, OutcomeUnknown, True),
        ("timeout_1007_not_executed", {}, OutcomeUnknown, False),
        ("html_200", {"effect": True}, OutcomeUnknown, True),
        ("html_200", {"effect": False}, OutcomeUnknown, False),
        ("empty_200", {}, OutcomeUnknown, None),
        ("truncated", {}, OutcomeUnknown, True),
        ("service_unavailable_503", {}, NotSent, False),
        ("status", {"status": 429, "code": -1003, "msg": "Too many requests"}, RateLimited, False),
        ("status", {"status": 400, "code": -1021, "msg": "Timestamp"}, NotSent, False),
        ("status", {"status": 503, "code": -1008, "msg": "Request throttled"}, NotSent, False),
        ("status", {"status": 401, "code": -2015, "msg": "Invalid API-key"}, Rejected, False),
    ],
)
async def test_each_fault_is_classified_and_has_one_effect_at_most(
    faulty: Embedded, do: str, more: dict, kind: type[ExchangeError], executed: bool | None
) -> None:
    gateway, clock = faulty.gateway, faulty.clock
    before = len(await gateway.fills("ADAUSDT"))
    name = f"{do[:16]}.{len(str(more))}.{executed}"
    await faulty.fault(do, **more)
    with pytest.raises(ExchangeError) as raised:
        await gateway.send(request(name, 100))
    assert type(raised.value) is kind
    if gateway.cooldown is not None:
        await clock.sleep_until(gateway.cooldown)
    found = await gateway.find("ADAUSDT", f"twire.{name}")
    assert executed is None or (found is not None) is executed
    assert len(await gateway.fills("ADAUSDT")) == before + (found is not None)


@pytest.mark.fault(58)
@pytest.mark.parametrize("do", ["lose_answer", "drop_request", "empty_200", "truncated", "html_200"])
@pytest.mark.parametrize("path", ["GET /fapi/v3/account", "GET /fapi/v1/klines", "GET /fapi/v1/time"])
async def test_a_fault_of_a_read_is_not_noticed_above_the_gateway(faulty: Embedded, do: str, path: str) -> None:
    gateway = faulty.gateway
    await faulty.fault(do, path, **({"effect": True} if do == "html_200" else {}))
    await gateway.sync_clock()
    assert (await gateway.account()).equity > 9000
    assert len((await gateway.candles(["ADAUSDT"], EVERY_16H, 3))[0]) == 3


async def trade(gateway: BinanceGateway | PaperGateway, clock: StepClock) -> list[object]:
    """Trade for some closes and return what the account told."""
    await gateway.sync_clock()
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    await gateway.set_leverage("ADAUSDT", 3)
    begin = EVERY_16H.following(clock.now())
    told: list[object] = []
    plan = [(8000, False), (-3000, True), (-5000, True), (-6000, False), (2500, True), (0, False), (3500, True)]
    for number, (quantity, reduce_only) in enumerate(plan):
        await clock.sleep_until(begin + number * EVERY_16H.delta)
        before = await gateway.account()
        if quantity:
            order = await gateway.send(request(f"x{number}", quantity, reduce_only=reduce_only))
            (fill,) = await gateway.fills("ADAUSDT", order=order)
            told.append((order.filled, order.average_price, fill.price, fill.fee, fill.realised))
        after = await gateway.account()
        told += [(one.wallet, one.equity, one.available, one.quantity("ADAUSDT")) for one in (before, after)]
    incomes = await gateway.incomes(begin)
    told += sorted((income.kind, income.amount) for income in incomes)
    return told


async def test_an_imagined_account_tells_the_same_money_as_the_exchange(tmp_path: Path) -> None:
    processes = [Process(tmp_path / name) for name in ("real", "dry")]
    real, dry = map(Embedded, processes)
    paper = PaperGateway(dry.open(venue="testnet"), dry.clock, Shelf(), equity=Decimal(10000), costs=COSTS)
    assert await trade(paper, dry.clock) == await trade(real.gateway, real.clock)
    requests = (await dry.control("GET", "ledger"))["counts"]
    assert requests["POST /fapi/v1/order/test"] == 6
    assert "POST /fapi/v1/order" not in requests
    await paper.close()
    for one in (real, dry):
        await one.close()
    for process in processes:
        process.end()
