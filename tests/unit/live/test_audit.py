"""What somebody changed by hand between two closes is found before the next decision, named, and answered by policy."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, FakeExchange
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.order import Order, client_id
from trader.errors import Mismatch
from trader.execution.reconcile import Policies

NEXT = CLOSE + INTERVAL.delta
TWIN = client_id("sim/main/another", CLOSE, ADA, "o", 0)
ADOPT = Policies(**dict.fromkeys(Policies.__slots__, "adopt"))


async def after_one_close(world: World, policies: Policies) -> World:
    world.policies = policies
    world.boot().begin()
    await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    return world


def change(name: str, value: object) -> Callable[[FakeExchange], None]:
    def do(exchange: FakeExchange) -> None:
        exchange.setups[ADA] = replace(exchange.setups[ADA], **{name: value})  # type: ignore[arg-type]

    return do


def rests(name: str) -> Callable[[FakeExchange], None]:
    order = Order(name, "1", ADA, Decimal(1), Decimal(0), Decimal(0), "NEW", reduce_only=False, time=CLOSE)
    return lambda exchange: exchange.resting.append(order)


def trades(name: str, *quantities: str) -> Callable[[FakeExchange], None]:
    def do(exchange: FakeExchange) -> None:
        for number, quantity in enumerate(quantities):
            exchange.trade(quantity, name)
            trade = exchange.trades(ADA)[-1].trade_id
            exchange.bookings.append(Income(f"{number}", "COMMISSION", ADA, Decimal(0), exchange.clock.now(), trade))

    return do


CHANGES = {
    "leverage": (change("leverage", 5), "5x and not 2x", True),
    "margin mode": (change("margin_mode", "cross"), "cross margin", True),
    "position mode": (change("hedge_mode", True), "hedge mode", False),
    "assets mode": (change("multi_assets", True), "multi-assets mode", False),
    "a person's order": (rests("web_1"), "web_1 of a person", True),
    "a twin's order": (rests(TWIN), "another trader with the same keys", False),
    "a person's trade": (trades("web_1", "7"), "a person", True),
    "a twin's trade": (trades(TWIN, "7"), "another trader with the same keys", False),
    "trades that cancel out": (trades("web_1", "7", "-7"), "a person", True),
    "a twin's trades that cancel out": (trades(TWIN, "7", "-7"), "another trader", False),
}


@pytest.mark.fault(16, 50, 51, 52, 53)
@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_by_hand_halts_and_is_named(name: str, world: World) -> None:
    do, said, _ = CHANGES[name]
    await after_one_close(world, Policies())
    do(world.exchange)
    with pytest.raises(Mismatch, match=said):
        await world.cycle.run(NEXT)
    assert world.state() is State.HALTED
    assert said in world.journal.state().why
    assert len(world.exchange.posts) == 1


@pytest.mark.fault(16, 50, 51, 52, 53)
@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_can_be_lived_with_is_adopted_where_that_was_chosen(name: str, world: World) -> None:
    do, said, liveable = CHANGES[name]
    await after_one_close(world, ADOPT)
    do(world.exchange)
    if not liveable:
        with pytest.raises(Mismatch, match=said):
            await world.cycle.run(NEXT)
        return
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert world.state() is State.ACTIVE
    # what came on top is part of the book, and the same target is reached from there
    assert world.exchange.position() == -5000
    world.agree()


@pytest.mark.fault(51, 52)
async def test_leverage_and_margin_mode_are_set_back_while_nothing_is_held(world: World) -> None:
    world.strategy.wishes = {CLOSE: 0.0}
    await after_one_close(world, Policies())
    before = world.exchange.setups[ADA]
    world.exchange.setups[ADA] = replace(before, leverage=20, margin_mode="cross")
    await world.cycle.run(NEXT)
    assert world.exchange.setups[ADA] == before
    assert len(world.log.said("set back what somebody changed")) == 2
    assert world.exchange.position() == -5000


@pytest.mark.fault(54, 57)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("autoclose-1", "liquidation"), ("adl_autoclose", "adl"), ("settlement_autoclose-1", "settlement")],
)
@pytest.mark.parametrize("adopt", [False, True])
async def test_what_the_exchange_took_is_named_and_written_down_and_halts_unless_adopted(
    name: str, kind: str, adopt: bool, world: World
) -> None:
    await after_one_close(world, Policies(**{kind: "adopt"}) if adopt else Policies())
    world.exchange.trade("-5000", name)
    await world.cycle.run(NEXT)
    (said,) = world.log.said("position taken")
    assert said["kind"] == kind
    assert world.state() is (State.ACTIVE if adopt else State.HALTED)
    assert world.exchange.position() == (-5000 if adopt else 0)
    world.agree()


@pytest.mark.fault(56)
async def test_a_withdrawal_while_asleep_is_no_loss(new_world: Callable[..., World]) -> None:
    for kind, state in (("TRANSFER", State.ACTIVE), ("INSURANCE_CLEAR", State.HALTED)):
        world = new_world()
        world.limits = replace(world.limits, max_drawdown=Decimal("0.2"), max_daily_loss=Decimal("0.2"))
        await after_one_close(world, Policies())
        world.exchange.bookings.append(Income("9", kind, "", Decimal(-4000), NEXT - timedelta(hours=1), ""))
        report = await world.cycle.run(NEXT)
        assert report is not None
        assert report.state is state
        assert len(world.log.said("money moved in or out")) == (kind == "TRANSFER")
        assert world.exchange.position() == (0 if state is State.HALTED else -3000)


@pytest.mark.fault(56)
async def test_a_deposit_hides_no_loss(world: World) -> None:
    world.limits = replace(world.limits, max_drawdown=Decimal("0.2"))
    await after_one_close(world, Policies())
    world.exchange.bookings.append(Income("9", "TRANSFER", "", Decimal(4000), NEXT - timedelta(hours=1), ""))
    world.exchange.prices_now[ADA] = Decimal("0.4")
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert report.state is State.HALTED
    assert "drawdown" in report.why


async def test_a_lost_wallet_halts_after_a_few_looks(world: World) -> None:
    await after_one_close(world, ADOPT)
    world.exchange.cash -= 3
    with pytest.raises(Mismatch, match="another account"):
        await world.cycle.run(NEXT)
    assert world.clock.now() > NEXT + timedelta(seconds=30)
    assert world.state() is State.HALTED


@pytest.mark.fault(16)
@pytest.mark.parametrize("policies", [Policies(), ADOPT], ids=["halt", "adopt"])
async def test_a_second_copy_of_the_daemon_is_never_adopted_although_its_orders_have_our_names(
    policies: Policies, new_world: Callable[..., World]
) -> None:
    one, other = new_world(), new_world()
    other.exchange, other.clock, other.stops = one.exchange, one.clock, one.stops
    for world in (one, other):
        world.policies = policies
        world.strategy.wishes = {CLOSE: 1.0, NEXT: -1.0}
        world.boot().begin()
    told = await asyncio.gather(*(world.cycle.run(CLOSE) for world in (one, other)), return_exceptions=True)
    assert one.exchange.position() == 10000
    assert {request.client_id for _, request, _ in one.exchange.posts} == {one.exchange.posts[0][1].client_id}
    for world, why in zip((one, other), told, strict=True):
        assert isinstance(why, Mismatch)
        assert "a second copy of it" in str(why)
        assert world.state() is State.HALTED
        assert world.journal.position(ADA) == 5000
    one.clock.time = NEXT
    await asyncio.gather(*(world.cycle.run(NEXT) for world in (one, other)), return_exceptions=True)
    assert len(one.exchange.posts) == 2
