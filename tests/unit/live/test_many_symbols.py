"""A strategy without symbols of its own: what cannot be known or done of one symbol never stops the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import Reply
from tests.unit.live.world import CLOSE, FakeStrategy, World
from trader.domain.decision import Book, CloseReport, Forecast
from trader.domain.interval import Interval
from trader.errors import ConfigError, ExchangeError, Mismatch, Rejected
from trader.journal.rows import Outcome, Status
from trader.live.record import decode_inputs, encode_decision, recompute

NAMES = tuple(f"S{number:02}USDT" for number in range(20))
FIRST, SECOND = NAMES[:2]
Made = Callable[..., World]


@dataclass
class Basket(FakeStrategy):
    """Holds a twentieth of a half of every symbol that is forecast, and sells what is held and not forecast."""

    symbols: tuple[str, ...] = ()
    least: int | None = 1

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        told = {symbol: one for symbol, one in forecasts.items() if symbol not in book.unknown}
        left = {symbol: 0.0 for symbol, held in book.positions.items() if held and symbol not in book.unknown}
        return left | {symbol: 0.025 * one.value for symbol, one in told.items()}


@pytest.fixture
def world(new_world: Made) -> World:
    world = new_world(symbols=NAMES)
    world.strategy = Basket(wishes={CLOSE: 1.0, CLOSE + FakeStrategy.interval.delta: 1.0})
    return world


async def decide(world: World, number: int = 0) -> CloseReport:
    close = CLOSE + number * world.strategy.interval.delta
    world.clock.time = max(world.clock.time, close)
    report = await world.cycle.run(close)
    assert report is not None
    transcript = world.journal.transcript(close)
    assert transcript is not None
    inputs = decode_inputs(transcript.inputs, world.journal.texts(transcript))
    assert encode_decision(recompute(world.strategy, inputs)) == transcript.output
    return report


async def test_all_that_is_listed_is_opened_with_margin_and_leverage_set_before_it(world: World) -> None:
    for name in NAMES:
        world.exchange.setups[name] = replace(world.exchange.setups[name], leverage=20, margin_mode="cross")
    world.boot()
    await world.startup.run(adopt=False)
    assert not {"set_leverage", "set_margin_mode"} & set(world.steps.names)
    report = await decide(world)
    assert set(report.positions) == set(NAMES)
    assert {(one.leverage, one.margin_mode) for one in world.exchange.setups.values()} == {(2, "isolated")}
    world.agree()


async def test_a_margin_mode_that_does_not_stay_set_opens_nothing_in_that_symbol(world: World) -> None:
    world.exchange.setups[FIRST] = replace(world.exchange.setups[FIRST], margin_mode="cross")
    world.exchange.accept_setup = False
    world.boot().begin()
    with pytest.raises(ExchangeError, match=f"{FIRST} stayed at 2x cross margin"):
        await world.cycle.run(CLOSE)
    assert world.exchange.position(FIRST) == 0
    assert all(world.exchange.position(name) for name in NAMES[1:])


async def test_a_start_asks_about_what_is_held_and_refuses_it_at_another_leverage(world: World) -> None:
    world.boot().begin()
    await decide(world)
    world.exchange.setups[SECOND] = replace(world.exchange.setups[SECOND], leverage=7)
    world.boot()
    with pytest.raises(Mismatch, match=f"{SECOND} holds .* at 7x"):
        await world.startup.run(adopt=False)


async def test_what_is_held_of_a_symbol_whose_candles_have_a_hole_stays_as_it_is(world: World) -> None:
    world.boot().begin()
    before = await decide(world)
    world.exchange.blind = {FIRST, SECOND}
    after = await decide(world, 1)
    assert {name: after.positions[name] for name in (FIRST, SECOND)} == {
        name: before.positions[name] for name in (FIRST, SECOND)
    }
    assert after.unknown == dict.fromkeys((FIRST, SECOND), "its candles have a hole")
    assert f"{FIRST} stays as it is: its candles have a hole" in after.why
    left_out = [(line["symbol"], line["held"]) for line in world.log.said("symbol left out")]
    assert left_out == [(name, str(before.positions[name])) for name in (FIRST, SECOND)]


@pytest.mark.parametrize(
    ("status", "kept", "why"),
    [("BREAK", True, "it is BREAK and cannot be traded now"), ("SETTLING", False, "")],
)
async def test_what_cannot_be_traded_now_is_kept_and_what_never_will_be_again_is_given_up(
    world: World, status: str, kept: bool, why: str
) -> None:
    world.boot().begin()
    before = await decide(world)
    world.exchange.rules[FIRST] = replace(world.exchange.rules[FIRST], status=status)
    after = await decide(world, 1)
    assert after.positions.get(FIRST, 0) == (before.positions[FIRST] if kept else 0)
    assert after.unknown.get(FIRST, "") == why
    assert set(after.forecasts) == set(NAMES[1:])


async def test_a_symbol_that_is_being_settled_is_still_ranked_by_its_last_candle(world: World) -> None:
    world.boot().begin()
    world.exchange.rules[FIRST] = replace(world.exchange.rules[FIRST], status="SETTLING", ends=CLOSE)
    assert FIRST in (await decide(world)).forecasts
    assert FIRST not in (await decide(world, 1)).forecasts


async def test_a_symbol_that_ended_inside_a_candle_has_no_whole_one_and_is_given_up(world: World) -> None:
    world.boot().begin()
    assert (await decide(world)).positions[FIRST]
    world.exchange.rules[FIRST] = replace(
        world.exchange.rules[FIRST], status="SETTLING", ends=CLOSE + world.strategy.interval.delta / 2
    )
    after = await decide(world, 1)
    assert FIRST not in after.forecasts
    assert not after.positions.get(FIRST, 0)


async def test_a_symbol_that_is_listed_at_the_close_has_no_candle_to_ask_for(world: World) -> None:
    world.boot().begin()
    world.exchange.rules[FIRST] = replace(world.exchange.rules[FIRST], begins=CLOSE)
    report = await decide(world)
    assert FIRST not in report.forecasts
    assert report.unknown == {}


async def test_a_held_symbol_that_vanished_is_marked_at_what_the_account_says_and_stays(world: World) -> None:
    world.boot().begin()
    before = await decide(world)
    del world.exchange.rules[FIRST]
    world.exchange.priceless = {FIRST}
    after = await decide(world, 1)
    assert after.positions[FIRST] == before.positions[FIRST]
    assert after.prices[FIRST] == 1
    assert after.unknown[FIRST] == "the exchange tells no rules of it any more"


async def test_a_symbol_whose_rules_cannot_be_read_is_left_out_by_name(world: World) -> None:
    world.boot().begin()
    del world.exchange.rules[FIRST]
    world.exchange.unreadable = {FIRST: "its rules cannot be used (no lot step)"}
    report = await decide(world)
    assert set(report.positions) == set(NAMES[1:])
    assert report.unknown == world.exchange.unreadable


async def test_a_symbol_without_a_price_is_not_opened(world: World) -> None:
    world.boot().begin()
    world.exchange.priceless = {FIRST}
    report = await decide(world)
    assert set(report.positions) == set(NAMES[1:])
    assert report.unknown == {FIRST: "its mark price is not told"}


async def test_a_symbol_whose_funding_is_not_told_is_asked_for_again_and_then_unknown(world: World) -> None:
    world.strategy.funded = True
    stamps = [(CLOSE - timedelta(hours=8 * back), 0.0001) for back in range(6)]
    world.exchange.stamps = dict.fromkeys(NAMES[1:], stamps)
    world.boot().begin()
    report = await decide(world)
    assert report.unknown == {FIRST: "its funding up to 2024-01-02T00:00Z is not known"}
    assert world.steps.names.count("funding_paid") == 5


async def test_a_close_of_which_no_funding_is_told_is_tried_again(world: World) -> None:
    world.strategy.funded = True
    world.boot().begin()
    with pytest.raises(ExchangeError, match="has not told any funding up to 2024-01-02"):
        await world.cycle.run(CLOSE)
    assert world.ours() == []


def every(hours: int, *, told: bool = True) -> list[tuple[datetime, float]]:
    """Stamps of a symbol up to the close, without the close's own where that is not told yet."""
    return [(CLOSE - timedelta(hours=hours * back), 0.0001) for back in range(0 if told else 1, 40 // hours + 1)]


async def test_the_stamp_of_the_close_is_waited_for_however_often_a_symbol_is_settled(world: World) -> None:
    world.strategy.funded = True
    world.exchange.hours = {FIRST: 4, SECOND: 1}
    world.exchange.stamps = dict.fromkeys(NAMES[2:], every(8)) | {FIRST: every(4, told=False), SECOND: every(1)}
    world.boot().begin()
    report = await decide(world)
    assert report.unknown == {FIRST: "its funding up to 2024-01-02T00:00Z is not known"}
    assert world.steps.names.count("funding_paid") == 5


async def test_a_close_whose_stamps_most_symbols_lack_is_tried_again(world: World) -> None:
    world.strategy.funded = True
    world.exchange.hours = dict.fromkeys(NAMES, 4)
    told = dict.fromkeys(NAMES[:9], every(4))
    world.exchange.stamps = dict.fromkeys(NAMES, every(4, told=False)) | told
    world.boot().begin()
    with pytest.raises(ExchangeError, match="has not told the funding of 11 of 20 symbols that is stamped at 2024-"):
        await world.cycle.run(CLOSE)
    assert world.ours() == []
    world.exchange.stamps |= {NAMES[9]: every(4)}
    assert set((await decide(world)).unknown) == set(NAMES[10:])


async def test_symbols_that_are_new_or_not_settled_at_a_close_keep_nothing_waiting(world: World) -> None:
    world.strategy.funded = True
    later = CLOSE + world.strategy.interval.delta - timedelta(hours=4)  # 12:00, where what is settled by eight is not
    world.strategy.interval = Interval.parse("12h")
    world.strategy.wishes = {later: 1.0}
    world.exchange.hours = {FIRST: 4}
    eight = [(at + timedelta(hours=8), rate) for at, rate in every(8)]
    world.exchange.stamps = dict.fromkeys(NAMES[:9], eight)
    world.exchange.stamps[FIRST] = [(at + timedelta(hours=12), rate) for at, rate in every(4)]
    world.clock.time = later
    world.boot().begin()
    report = await world.cycle.run(later)
    assert report is not None
    # nothing is stamped yet of the others, which are more
    assert set(report.unknown) == set(NAMES[9:])


async def test_funding_stamped_after_the_close_is_none_of_it(world: World) -> None:
    world.strategy.funded = True
    late = [(CLOSE + timedelta(minutes=2), 9.0), *((CLOSE - timedelta(hours=8 * back), 0.0001) for back in range(6))]
    world.exchange.stamps = dict.fromkeys(NAMES, late)
    world.boot().begin()
    world.clock.time = CLOSE + timedelta(minutes=3)
    await decide(world)
    transcript = world.journal.transcript(CLOSE)
    assert transcript is not None
    candles = decode_inputs(transcript.inputs, world.journal.texts(transcript)).candles
    assert set(candles["funding_rate"].drop_nulls().to_list()) == {0.0002}


async def test_an_exchange_that_trades_nothing_of_ours_is_refused(world: World) -> None:
    world.boot().begin()
    for name in NAMES:
        world.exchange.rules[name] = replace(world.exchange.rules[name], status="BREAK")
    with pytest.raises(ConfigError, match="trades no symbol that fake may hold"):
        await world.cycle.run(CLOSE)


@pytest.mark.parametrize("reply", [Reply(effect=False, error=-2019), Reply(effect=False, error=-4131)])
async def test_an_order_that_is_refused_stops_no_other_symbol(world: World, reply: Reply) -> None:
    world.boot().begin()
    world.exchange.plan = [Reply()] * 7 + [reply]
    report = await decide(world)
    assert len(report.positions) == len(NAMES) - 1
    world.agree()


async def test_trades_of_before_the_baseline_are_no_news_of_a_symbol_that_was_flat_then(world: World) -> None:
    world.exchange.trade("5", symbol=FIRST)
    world.exchange.trade("-5", symbol=FIRST)
    world.clock.time += timedelta(seconds=1)
    world.boot().begin()
    assert world.journal.unheard(FIRST, await world.exchange.fills(FIRST)) == []
    world.exchange.trade("5", symbol=FIRST)
    assert [fill.quantity for fill in world.journal.unheard(FIRST, await world.exchange.fills(FIRST))] == [Decimal(5)]


async def test_an_account_too_small_for_half_of_the_symbols_is_refused_and_for_a_few_is_not(world: World) -> None:
    for name in NAMES[:12]:
        world.exchange.rules[name] = replace(world.exchange.rules[name], min_notional=Decimal(1000))
    world.boot()
    with pytest.raises(ConfigError, match=r"too small for 12 of 20 symbols; hold at least 40000\.00 USDT"):
        await world.startup.run(adopt=False)
    for name in NAMES[3:12]:
        world.exchange.rules[name] = replace(world.exchange.rules[name], min_notional=Decimal(5))
    await world.startup.run(adopt=False)
    assert world.log.said("too small for an even share") == [{"symbols": ", ".join(NAMES[:3])}]


async def test_a_symbol_that_is_to_end_before_the_next_close_is_sold_while_it_can_be(world: World) -> None:
    world.boot().begin()
    assert FIRST in (await decide(world)).positions
    second = CLOSE + world.strategy.interval.delta
    world.exchange.rules[FIRST] = replace(world.exchange.rules[FIRST], ends=second + world.strategy.interval.delta)
    after = await decide(world, 1)
    assert FIRST not in after.forecasts
    assert FIRST not in after.positions
    assert after.unknown == {}


async def test_a_set_up_that_is_refused_ends_that_opening_and_no_other(world: World) -> None:
    world.exchange.setups[FIRST] = replace(world.exchange.setups[FIRST], leverage=20)
    world.exchange.faults = {("set_leverage", 0): Rejected("Leverage 2 is not valid", code=-4028)}
    world.boot().begin()
    report = await decide(world)
    assert set(report.positions) == set(NAMES[1:])
    (order,) = [one for one in world.journal.orders() if one.intent.symbol == FIRST]
    assert (order.outcome, order.sends, order.error_code) == (Outcome.REJECTED, 0, -4028)


async def test_a_set_up_that_never_succeeds_does_not_keep_the_next_close_from_being_decided(world: World) -> None:
    world.exchange.setups[FIRST] = replace(world.exchange.setups[FIRST], leverage=20)
    world.exchange.accept_setup = False
    world.boot().begin()
    with pytest.raises(ExchangeError, match="stayed at 20x"):
        await world.cycle.run(CLOSE)
    world.exchange.blind = {FIRST}
    after = await decide(world, 1)
    assert set(after.positions) == set(NAMES[1:])
    (order,) = [one for one in world.journal.orders() if one.intent.symbol == FIRST]
    assert order.outcome is Outcome.EXPIRED
    assert world.statuses()[CLOSE] is Status.CLOSED
