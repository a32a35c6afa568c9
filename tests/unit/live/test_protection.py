"""One stop for every position that is held, none where nothing is, whatever answers or dies."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.guarded import BTC, FIFTH, NEXT, dies, guard, protect, protected, triggers
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.stops import ANSWERS, Answer
from tests.unit.live.world import CLOSE, INSTANCE, INTERVAL, World
from trader.domain.decision import State
from trader.domain.order import client_id
from trader.errors import Denied, ExchangeError, RateLimited
from trader.journal.rows import Status
from trader.live.protection import Protection, StopTerms

RATE = RateLimited("too many", retry_at=CLOSE)


@pytest.mark.parametrize(("held", "trigger"), [("10", "0.8"), ("-10", "1.2")])
async def test_a_position_has_a_stop_a_fifth_of_its_price_away(held: str, trigger: str, guarded: World) -> None:
    guarded.boot().begin(held)
    guarded.take_steps(Steps(hooks={("place_stop", 0): lambda: named(guarded)}))
    await protect(guarded)
    assert triggers(guarded) == [Decimal(trigger)]
    assert guarded.stops.posts[0].client_id == client_id(INSTANCE, INTERVAL.floor(CLOSE), ADA, "s", 0)
    protected(guarded)


def named(world: World) -> None:
    (record,) = world.journal.standing_stops()
    assert record.sent_at == world.clock.now(), "a stop left before it was durable"


async def test_a_price_between_two_ticks_is_rounded_to_where_less_is_lost(guarded: World) -> None:
    guarded.exchange.prices_now[ADA] = Decimal("0.55557")
    guarded.boot().begin("10")
    await protect(guarded)
    assert triggers(guarded) == [Decimal("0.4445")]
    guarded.exchange.trade("-20")
    guarded.journal.record_fills(guarded.exchange.trades())
    await protect(guarded)
    assert triggers(guarded) == [Decimal("0.6666")]


async def test_without_the_setting_nothing_is_asked_of_the_exchange(world: World) -> None:
    world.boot().begin("10")
    account = await world.exchange.account()
    world.take_steps(Steps())
    assert await world.recovery.protect(account) is account
    assert world.steps.names == []


async def test_a_place_without_stops_has_none(guarded: World) -> None:
    guarded.boot().begin("10")
    terms = StopTerms(INSTANCE, INTERVAL, FIFTH)
    dry = Protection(None, guarded.exchange, guarded.journal, guarded.clock, guarded.router, terms, guarded.log)
    assert await dry.follow(await guarded.exchange.account()) == await dry.fired() == []
    assert await dry.sweep([]) == []
    assert guarded.stops.posts == guarded.journal.stops() == []


async def test_a_position_that_stays_keeps_its_stop_and_costs_one_look(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    account = await guarded.exchange.account()
    guarded.take_steps(Steps())
    await guarded.recovery.protect(account)
    assert guarded.steps.names == ["find_stop"]
    protected(guarded)


async def test_a_smaller_position_of_the_same_price_keeps_its_stop(guarded: World) -> None:
    guarded.boot().begin()
    guarded.decide(("o", "10"))
    await guarded.recovery.settle_open()
    await protect(guarded)
    guarded.decide(("r", "-4"), close=NEXT)
    await guarded.recovery.settle_open()
    guarded.exchange.prices_now[ADA] = Decimal("1.1")
    await protect(guarded)
    assert len(guarded.stops.posts) == 1
    protected(guarded)


async def test_an_increase_at_another_price_moves_the_stop_with_the_average(guarded: World) -> None:
    guarded.boot().begin()
    guarded.decide(("o", "10"))
    await guarded.recovery.settle_open()
    await protect(guarded)
    guarded.exchange.prices_now[ADA] = Decimal("1.5")
    guarded.decide(("i", "10"), close=NEXT)
    await guarded.recovery.settle_open()
    guarded.take_steps(Steps())
    await protect(guarded)
    assert triggers(guarded) == [Decimal(1)]
    asked = [name for name in guarded.steps.names if name.endswith("_stop")]
    assert asked.index("cancel_stop") < asked.index("place_stop")
    old, _ = guarded.journal.stops()
    assert (old.status, old.why) == ("CANCELED", "the position has another price, or another side")
    protected(guarded)


async def test_another_fraction_moves_the_stop_and_none_takes_it_back(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.fraction = Decimal("0.3")
    guarded.boot()
    await protect(guarded)
    assert triggers(guarded) == [Decimal("0.7")]
    guarded.fraction = None
    guarded.boot()
    await protect(guarded)
    assert guarded.stops.waiting() == guarded.journal.standing_stops() == []
    assert guarded.journal.stops()[-1].why == "no stop is wanted any more"


async def test_a_flip_has_the_stop_of_its_new_side_alone(guarded: World) -> None:
    await guarded.run(cycles=3)
    assert [one.closes > 0 for one in guarded.stops.posts] == [False, True, False]
    assert [one.status for one in guarded.journal.stops()] == ["EXPIRED", "EXPIRED", "NEW"]
    assert set(guarded.statuses().values()) == {Status.CLOSED}
    protected(guarded)
    guarded.agree()


async def test_a_position_closed_and_opened_anew_at_the_same_price_gets_a_new_stop(guarded: World) -> None:
    guarded.strategy.rebalance = "every_close"
    guarded.strategy.wishes = {CLOSE: 1.0, NEXT: 1.0}
    await guarded.run(cycles=2)
    assert [one.status for one in guarded.journal.stops()] == ["EXPIRED", "NEW"]
    protected(guarded)


async def test_a_flat_account_has_no_stop_even_where_the_exchange_leaves_it(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.exchange.moved = lambda symbol: None
    guarded.exchange.trade("-10")
    guarded.journal.record_fills(guarded.exchange.trades())
    await protect(guarded)
    assert guarded.journal.stops()[-1].why == "the position is gone"
    protected(guarded)


async def test_every_symbol_has_its_own(new_world: Callable[..., World]) -> None:
    world = guard(new_world(symbols=(ADA, BTC)))
    await world.run(cycles=2)
    assert [one.symbol for one in world.stops.posts] == [ADA, BTC, ADA, BTC]
    assert len({one.client_id for one in world.stops.posts}) == 4
    protected(world)


@pytest.mark.fault(20, 27)
@pytest.mark.parametrize("dead", [False, True])
async def test_a_disk_that_stands_still_before_a_stop_is_posted_does_not_shorten_the_wait(
    dead: bool, guarded: World
) -> None:
    """What is signed long after it was written down as sent may arrive until the receive window is over."""
    guarded.boot().begin("10")
    guarded.stops.plan = [replace(ANSWERS["late"], delay=4.9)]
    stall = {("mark_stop_sent", 0): lambda: setattr(guarded.clock, "time", guarded.clock.now() + timedelta(seconds=60))}
    guarded.take_steps(Steps(hooks=stall | ({("answer_stop", 0): dies} if dead else {})))
    if dead:
        with pytest.raises(Crash):
            await protect(guarded)
        guarded.boot()
    await protect(guarded)
    assert len(guarded.stops.posts) == 1
    protected(guarded)


@pytest.mark.parametrize("kind", ANSWERS)
async def test_every_answer_leaves_one_stop(kind: str, guarded: World) -> None:
    guarded.stops.plan = [ANSWERS[kind]]
    await guarded.run(cycles=1)
    assert guarded.statuses() == {CLOSE: Status.CLOSED}
    protected(guarded)


@pytest.mark.parametrize("kind", ["confirmed", "executed", "late"])
@pytest.mark.fault(1, 2)
async def test_a_death_at_any_step_leaves_one_stop(kind: str, next_world: Callable[..., World]) -> None:
    async def live(steps: Steps) -> World:
        world = guard(next_world())
        world.stops.plan = [ANSWERS["confirmed"], ANSWERS[kind]]
        await world.run(steps, end=NEXT)
        return world

    undisturbed = await live(Steps())
    for death in range(len(undisturbed.steps.names)):
        world = await live(Steps(death))
        protected(world)
        world.agree()
        world.obeyed()
        assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
        assert world.ours() == undisturbed.ours()
        names = [one.request.client_id for one in world.stops.book]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("error", [RATE, Denied("over our own limit")])
async def test_a_stop_that_may_not_be_sent_now_is_placed_when_the_close_is_tried_again(
    error: ExchangeError, guarded: World
) -> None:
    guarded.stops.plan = [Answer(effect=False, error=error)]
    await guarded.run(cycles=1)
    assert guarded.statuses() == {CLOSE: Status.CLOSED}
    first, _ = guarded.journal.stops()
    assert (first.status, first.final) == ("ABSENT", True)
    protected(guarded)


async def test_an_exchange_that_takes_no_stop_leaves_reducing_only_until_it_does(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.stops.plan = [ANSWERS["not_sent"]] * 4
    await protect(guarded)
    assert guarded.state() is State.REDUCING
    assert f"no stop is known to rest for {ADA}: connection refused" in guarded.journal.state().why
    await protect(guarded)
    assert guarded.state() is State.ACTIVE
    assert len(guarded.stops.posts) == 5
    protected(guarded)


async def test_a_cancel_that_takes_its_time_is_asked_for_again(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.fraction = Decimal("0.3")
    guarded.boot()
    guarded.stops.slow_cancels = 2
    await protect(guarded)
    assert triggers(guarded) == [Decimal("0.7")]
    protected(guarded)
    guarded.fraction = FIFTH
    guarded.boot()
    guarded.stops.slow_cancels = 100
    await protect(guarded)
    assert "still rests" in guarded.protection.missing[ADA]
    assert triggers(guarded) == [Decimal("0.7")]


async def test_a_stop_the_exchange_has_forgotten_is_placed_again_only_once_that_is_certain(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.forget()
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status="CANCELED")
    await protect(guarded)
    assert [one.status for one in guarded.journal.stops()] == ["ABSENT", "NEW"]
    assert guarded.clock.now() > CLOSE + timedelta(seconds=17)


async def test_a_stop_that_was_never_posted_is_not_posted_later(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.take_steps(Steps(hooks={("mark_stop_sent", 0): dies}))
    with pytest.raises(Crash):
        await protect(guarded)
    guarded.boot()
    await protect(guarded)
    assert [(one.status, one.why) for one in guarded.journal.stops()] == [
        ("ABSENT", "it was never posted"),
        ("NEW", None),
    ]
    protected(guarded)


@pytest.mark.parametrize("status", ["CANCELED", "REJECTED"])
async def test_a_stop_that_somebody_took_back_or_that_came_to_nothing_is_placed_again(
    status: str, guarded: World
) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status=status)
    await protect(guarded)
    protected(guarded)
    assert len(guarded.stops.posts) == 2


async def test_of_two_that_fit_one_is_taken_back(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    (record,) = guarded.journal.standing_stops()
    twin = replace(record.intent.request, client_id="twin")
    guarded.journal.intend_stop(replace(record.intent, request=twin, attempt=1))
    guarded.journal.mark_stop_sent("twin", CLOSE)
    guarded.stops.book.append(replace(guarded.stops.book[0], request=twin))
    guarded.stops.book[1].stop = replace(guarded.stops.book[0].stop, client_id="twin")
    await protect(guarded)
    protected(guarded)
