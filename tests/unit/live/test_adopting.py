"""An account that a person accepts as it is, and what comes before its baseline then."""

from collections.abc import Callable

from tests.unit.live.exchange import ADA
from tests.unit.live.world import CLOSE, World

BTC = "BTCUSDT"


async def test_adopting_puts_before_the_baseline_what_closed_a_position_that_is_not_traded_any_more(
    new_world: Callable[..., World],
) -> None:
    """A strategy with a universe names no symbols, and the account does not show what is flat."""
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.boot().begin()
    world.exchange.trade("10", symbol=BTC)
    await world.startup.run(adopt=True)
    assert world.journal.positions() == {BTC: 10}
    world.exchange.trade("-10", symbol=BTC)
    await world.startup.run(adopt=True)
    assert world.journal.positions() == {}
    newest = world.exchange.trades(BTC)[-1].trade_id
    assert world.journal.baseline().last_trades[BTC] == newest
    assert world.journal.unheard(BTC, world.exchange.trades(BTC)) == []
    # and its trades stay before the next baseline all the same
    world.exchange.trade("3")
    await world.startup.run(adopt=True)
    assert world.journal.baseline().last_trades[BTC] == newest


async def test_adopting_what_is_explained_changes_nothing(world: World) -> None:
    world.boot().begin("10")
    await world.startup.run(adopt=True)
    assert world.steps.names.count("set_baseline") == 1


async def test_adopting_an_account_that_was_reset_and_counts_its_trades_anew_forgets_the_old_numbers(
    world: World,
) -> None:
    world.boot()
    cash = world.exchange.cash
    world.journal.set_baseline(
        wallet=cash + 500, equity=cash + 500, positions={}, last_trades={ADA: "5000"}, at=world.clock.now()
    )
    await world.startup.run(adopt=True)
    assert ADA not in world.journal.baseline().last_trades
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert world.journal.position(ADA) == world.exchange.position() != 0
