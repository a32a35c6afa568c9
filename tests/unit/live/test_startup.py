"""An account is made ready, or refused in one sentence that names the remedy, with nothing lost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.execution_world import instrument
from tests.unit.live.exchange import ADA, REPLIES
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, MAX_DELAY, World
from trader.domain.account import Account, Income
from trader.domain.order import Order
from trader.errors import ConfigError, ExchangeError, Mismatch, NotPermitted
from trader.journal.rows import Outcome

BTC = "BTCUSDT"


async def test_an_empty_account_becomes_the_baseline(world: World) -> None:
    world.boot()
    await world.startup.run(adopt=False)
    assert world.journal.baseline().equity == 10_000
    assert world.journal.positions() == {}


async def test_leverage_and_margin_mode_are_set_and_verified(world: World) -> None:
    world.boot()
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=20, margin_mode="cross")
    await world.startup.run(adopt=False)
    assert (world.exchange.setups[ADA].leverage, world.exchange.setups[ADA].margin_mode) == (2, "isolated")


async def test_what_is_set_already_is_not_set_again(world: World) -> None:
    world.boot()
    await world.startup.run(adopt=False)
    assert not {"set_leverage", "set_margin_mode"} & set(world.steps.names)


async def test_a_leverage_the_exchange_does_not_take_is_refused(world: World) -> None:
    world.boot()
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=20)
    world.exchange.accept_setup = False
    with pytest.raises(ConfigError, match="stayed at 20x isolated"):
        await world.startup.run(adopt=False)


@pytest.mark.parametrize("change", [{"leverage": 3}, {"margin_mode": "cross"}])
async def test_leverage_and_margin_are_not_changed_under_a_position(change: dict[str, object], world: World) -> None:
    world.boot().begin("10")
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], **change)  # type: ignore[arg-type]
    with pytest.raises(Mismatch, match="holds 10 at"):
        await world.startup.run(adopt=False)
    assert not {"set_leverage", "set_margin_mode"} & set(world.steps.names)


@pytest.mark.parametrize(
    ("change", "error", "remedy"),
    [
        ({"hedge_mode": True}, ConfigError, "switch it to one-way"),
        ({"multi_assets": True}, ConfigError, "single-asset mode"),
        ({"can_trade": False}, NotPermitted, "enable futures trading"),
    ],
)
async def test_an_account_in_a_mode_that_cannot_be_traded_is_refused_before_anything_is_sent(
    change: dict[str, bool], error: type[Exception], remedy: str, world: World
) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], **change)  # type: ignore[arg-type]
    with pytest.raises(error, match=remedy):
        await world.startup.run(adopt=True)
    assert world.exchange.posts == []
    assert len(world.journal.open_intents()) == 1


async def test_multi_assets_mode_is_refused_whatever_the_margin_and_keeps_nobody_from_closing(world: World) -> None:
    """Every coin of the account would count as equity there, and none but USDT is booked."""
    world.strategy.margin_mode = "cross"
    world.boot()
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], margin_mode="cross", multi_assets=True)
    with pytest.raises(ConfigError, match="single-asset mode"):
        await world.startup.run(adopt=False)
    await world.startup.before_flatten()


@pytest.mark.fault(83)
@pytest.mark.parametrize("symbol", [ADA, BTC])
async def test_a_position_that_a_new_journal_finds_is_refused_unless_it_is_adopted(
    symbol: str, new_world: Callable[..., World]
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.boot()
    world.exchange.trade("25", symbol=symbol)
    with pytest.raises(Mismatch, match=rf"{symbol} \+25.*--adopt"):
        await world.startup.run(adopt=False)
    assert not world.journal.has_baseline()
    await world.startup.run(adopt=True)
    assert world.journal.positions() == {symbol: 25}
    world.agree()


@pytest.mark.fault(83)
async def test_trades_before_the_baseline_are_not_told_again(world: World) -> None:
    world.exchange.trade("25")
    world.boot()
    await world.startup.run(adopt=True)
    world.decide(("c", "-25"))
    assert await world.carry_all() is None
    assert world.journal.position(ADA) == 0
    world.agree()


@pytest.mark.parametrize("begun", [True, False])
async def test_orders_of_somebody_else_are_refused_before_anything_is_set(begun: bool, world: World) -> None:
    world.boot()
    if begun:
        world.begin()
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=20)
    world.exchange.resting = [
        Order("by-hand", "1", ADA, Decimal(1), Decimal(0), Decimal(0), "NEW", reduce_only=False, time=CLOSE)
    ]
    with pytest.raises(Mismatch, match=r"1 open orders .*by-hand"):
        await world.startup.run(adopt=True)
    assert "set_leverage" not in world.steps.names


async def test_a_position_changed_by_hand_since_is_refused_unless_it_is_adopted(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("5")
    with pytest.raises(Mismatch, match="journal says 10, the exchange says 15"):
        await world.startup.run(adopt=False)
    await world.startup.run(adopt=True)
    assert world.journal.position(ADA) == 15
    world.agree()


async def test_open_orders_of_an_earlier_life_are_settled_first(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["executed"]]
    world.boot(Steps(3))
    with pytest.raises(Crash):
        await world.recovery.settle_open()
    world.boot()
    await world.startup.run(adopt=False)
    assert world.record(opening).outcome is Outcome.CONFIRMED
    assert world.journal.position(ADA) == 8
    world.agree()


async def test_adopting_gets_past_an_order_that_no_look_can_settle(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.journal.mark_sent(opening.client_id, CLOSE)
    world.exchange.trade("3")
    with pytest.raises(Mismatch, match="--adopt"):
        await world.startup.run(adopt=False)
    await world.startup.run(adopt=True)
    assert world.record(opening).outcome is Outcome.ABSENT
    assert world.journal.position(ADA) == 3
    assert world.exchange.posts == []
    world.agree()


@pytest.mark.fault(82)
async def test_old_orders_that_were_never_sent_are_not_sent_by_a_start(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.clock.time += MAX_DELAY + timedelta(hours=1)
    world.boot()
    await world.startup.run(adopt=False)
    assert world.record(opening).outcome is Outcome.EXPIRED


@pytest.mark.parametrize("equity", ["9.9", "0"])
async def test_an_equity_too_small_for_one_order_is_refused_with_what_it_takes(
    equity: str, new_world: Callable[..., World]
) -> None:
    world = new_world(equity=equity)
    world.boot()
    with pytest.raises(ConfigError, match=r"hold at least 10\.00 USDT"):
        await world.startup.run(adopt=False)


async def test_the_equity_has_to_be_enough_for_the_minimum_quantity_too(world: World) -> None:
    world.exchange.rules[ADA] = instrument(min_quantity="6000")
    world.boot()
    with pytest.raises(ConfigError, match=r"12000\.00"):
        await world.startup.run(adopt=False)


async def test_an_equity_that_became_too_small_does_not_abandon_a_position(new_world: Callable[..., World]) -> None:
    world = new_world(equity="8")
    world.boot().begin("4")
    await world.startup.run(adopt=False)
    assert world.journal.position(ADA) == 4


async def test_an_exchange_out_of_reach_refuses_the_start_and_loses_nothing(world: World) -> None:
    world.boot()
    world.exchange.outages = [(CLOSE, CLOSE + timedelta(minutes=5))]
    with pytest.raises(ExchangeError):
        await world.startup.run(adopt=False)
    assert not world.journal.has_baseline()


async def test_an_account_that_cannot_be_read_is_not_adopted(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("5")
    world.exchange.faults = {("account", 1): ExchangeError("503")}
    with pytest.raises(ExchangeError):
        await world.startup.run(adopt=True)
    assert world.journal.position(ADA) == 10


async def test_a_death_at_any_step_of_the_first_start_is_made_good_by_the_next(
    new_world: Callable[..., World],
) -> None:
    world = new_world()
    world.boot()
    await world.startup.run(adopt=False)
    for death in range(len(world.steps.names)):
        again = new_world()
        again.boot(Steps(death))
        with pytest.raises(Crash):
            await again.startup.run(adopt=False)
        again.boot()
        await again.startup.run(adopt=False)
        assert again.journal.baseline().equity == 10_000


async def test_another_account_is_refused_before_anything_is_sent_unless_it_is_adopted(world: World) -> None:
    world.boot().begin()
    world.exchange.cash -= Decimal("0.02")
    with pytest.raises(Mismatch, match=r"10000\.00 USDT and the account has 9999\.98.*--adopt"):
        await world.startup.run(adopt=False)
    assert world.exchange.posts == []
    await world.startup.run(adopt=True)
    assert world.journal.baseline().wallet == Decimal("9999.98")
    await world.startup.run(adopt=False)


async def test_a_booking_told_a_minute_late_refuses_no_start(world: World) -> None:
    world.boot().begin()
    told = world.clock.now() + timedelta(seconds=60)
    world.exchange.bookings = [Income("7", "TRANSFER", "", Decimal(5), told, "")]
    asked = world.exchange.account

    async def account() -> Account:
        seen = await asked()
        return replace(seen, wallet=Decimal(10_005), equity=Decimal(10_005))

    world.exchange.account = account  # type: ignore[method-assign]
    await world.startup.run(adopt=False)
    assert [income.id for income in world.journal.incomes()] == ["7"]


async def test_a_booking_that_is_told_late_is_waited_for(world: World) -> None:
    def tell() -> None:
        world.exchange.cash -= 5
        world.exchange.bookings.append(Income("7", "TRANSFER", ADA, Decimal(5), world.clock.now(), ""))

    world.boot(Steps(hooks={("incomes", 1): tell})).begin()
    world.exchange.cash += 5
    begun = world.clock.now()
    await world.startup.run(adopt=False)
    assert world.clock.now() > begun
    assert [income.id for income in world.journal.incomes()] == ["7"]


@pytest.fixture
async def edited(new_world: Callable[..., World]) -> World:
    """Hold a position that a decision opened, and then trade another symbol under the same name."""
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    await world.run(end=CLOSE)
    assert world.journal.positions() == {ADA: 5000}
    world.strategy.symbols = (BTC,)
    world.clock.time += timedelta(hours=1)
    return world.boot()


@pytest.mark.parametrize("adopt", [False, True])
async def test_a_symbol_that_was_edited_away_under_a_position_is_refused_and_nothing_changes(
    adopt: bool, edited: World
) -> None:
    posts = len(edited.exchange.posts)
    with pytest.raises(Mismatch, match=r"ADAUSDT \+5000.*put the symbol back.*`trader flatten`"):
        await edited.startup.run(adopt=adopt)
    assert len(edited.exchange.posts) == posts
    assert not {"set_leverage", "set_margin_mode"} & set(edited.steps.names)
    assert edited.journal.positions() == {ADA: 5000}
    edited.strategy.symbols = (ADA, BTC)
    await edited.boot().startup.run(adopt=adopt)


async def test_a_symbol_that_was_edited_away_is_traded_no_more_once_it_was_flattened(edited: World) -> None:
    await edited.startup.before_flatten()
    assert await edited.flattener.run() == "ADAUSDT -5000"
    edited.clock.time = CLOSE + edited.strategy.interval.delta
    await edited.run(end=edited.clock.time)
    # the windows overlap, and the earlier one knows nothing of the new symbol
    assert edited.journal.positions() == {BTC: -5000}
    edited.agree()


async def test_an_order_under_way_in_a_symbol_that_was_edited_away_is_refused(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.strategy.symbols = (BTC,)
    world.exchange.setups[BTC] = replace(world.exchange.setups[ADA], symbol=BTC)
    with pytest.raises(Mismatch, match="does not trade ADAUSDT any more"):
        await world.startup.run(adopt=False)
    assert world.exchange.posts == []


async def test_a_position_beside_the_strategy_that_was_adopted_is_named_at_every_start(
    new_world: Callable[..., World],
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.exchange.trade("25", symbol=BTC)
    await world.boot().startup.run(adopt=True)
    await world.boot().startup.run(adopt=False)
    assert world.log.said("held beside the strategy") == [{"holds": "BTCUSDT +25"}]


async def test_neither_a_changed_position_nor_a_lack_of_margin_is_in_the_way_of_closing_everything(
    world: World,
) -> None:
    world.boot().begin("10")
    world.exchange.trade("333", "by-hand")
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=7)
    world.strategy.exposure = 1000.0
    with pytest.raises(Mismatch):
        await world.startup.run(adopt=False)
    await world.startup.before_flatten()
    assert await world.flattener.run() == "ADAUSDT -343"
    assert world.exchange.position() == 0


async def test_another_account_is_not_closed(world: World) -> None:
    world.boot().begin("10")
    world.exchange.cash -= 5
    with pytest.raises(Mismatch, match="another account"):
        await world.startup.before_flatten()


@pytest.mark.parametrize("held", ["0", "10"])
async def test_a_new_journal_closes_no_account_that_holds_something(held: str, world: World) -> None:
    world.boot()
    if Decimal(held):
        world.exchange.trade(held, "before")
        with pytest.raises(Mismatch, match="This journal is new"):
            await world.startup.before_flatten()
    else:
        await world.startup.before_flatten()
    assert world.journal.has_baseline() is (held == "0")


async def test_an_account_in_hedge_mode_is_not_closed(world: World) -> None:
    world.boot().begin("10")
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], hedge_mode=True)
    with pytest.raises(ConfigError, match="one-way"):
        await world.startup.before_flatten()


async def test_an_account_that_pays_its_fees_in_another_coin_is_refused_with_the_way_out(world: World) -> None:
    world.boot()
    world.exchange.burns = True
    with pytest.raises(ConfigError, match=r"in BNB.*switch that off"):
        await world.startup.run(adopt=True)
    assert not world.journal.has_baseline()
    world.exchange.burns = False
    await world.startup.run(adopt=False)


async def test_a_venue_that_does_not_tell_how_fees_are_paid_is_started_on_with_a_warning(world: World) -> None:
    world.boot()
    world.exchange.burns = None
    await world.startup.run(adopt=False)
    (said,) = world.log.said("fees not told")
    assert "fee deduction in BNB is off" in said["remedy"]
    assert world.journal.has_baseline()
