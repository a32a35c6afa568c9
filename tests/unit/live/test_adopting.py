"""An account that a person accepts as it is, and what comes before its baseline then."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.world import CLOSE, World
from trader.domain.order import Fill
from trader.errors import Rejected

BTC = "BTCUSDT"


async def closed_by_hand(new_world: Callable[..., World]) -> World:
    """Adopt a position of a symbol that the strategy does not name, and its end."""
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.boot().begin()
    world.exchange.trade("10", symbol=BTC)
    await world.startup.run(adopt=True)
    assert world.journal.positions() == {BTC: 10}
    world.exchange.trade("-10", symbol=BTC)
    await world.startup.run(adopt=True)
    return world


async def test_adopting_puts_before_the_baseline_what_closed_a_position_that_is_not_traded_any_more(
    new_world: Callable[..., World],
) -> None:
    """A strategy with a universe names no symbols, and the account does not show what is flat."""
    world = await closed_by_hand(new_world)
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


async def test_what_is_listed_no_more_and_was_flat_long_ago_keeps_nobody_from_adopting(
    new_world: Callable[..., World],
) -> None:
    world = await closed_by_hand(new_world)
    newest = world.exchange.trades(BTC)[-1].trade_id
    told = world.exchange.fills

    async def fills(symbol: str, **words: Any) -> list[Fill]:
        if symbol == BTC:
            raise Rejected("userTrades was refused with -1121: Invalid symbol.", code=-1121)
        return await told(symbol, **words)

    world.exchange.fills = fills  # type: ignore[method-assign]
    world.exchange.trade("3")
    await world.startup.run(adopt=True)
    assert world.journal.positions() == {ADA: 3}
    assert world.journal.baseline().last_trades[BTC] == newest
    # what is held, or traded, has to be told
    world.exchange.trade("4", symbol=BTC)
    with pytest.raises(Rejected, match="Invalid symbol"):
        await world.startup.run(adopt=True)


async def test_what_is_held_has_to_be_told_before_a_new_journal_takes_it(new_world: Callable[..., World]) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.boot()
    world.exchange.trade("4", symbol=BTC)

    async def fills(symbol: str, **words: Any) -> list[Fill]:
        raise Rejected("userTrades was refused with -1121: Invalid symbol.", code=-1121)

    world.exchange.fills = fills  # type: ignore[method-assign]
    with pytest.raises(Rejected, match="Invalid symbol"):
        await world.startup.run(adopt=True)
    assert not world.journal.has_baseline()
