"""Our own count never lets the exchange's limits be passed, and waits only when they would be."""

import asyncio
import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.fakes import START, FakeClock, Reply, scripted
from trader.errors import Denied, RateLimited
from trader.exchange import endpoints
from trader.exchange.answers import RateLimit
from trader.exchange.limits import Limiter, Window

MINUTE = dt.timedelta(minutes=1)
gaps = st.integers(0, 40_000).map(lambda milliseconds: dt.timedelta(milliseconds=milliseconds))


def limit(kind: str, interval: str, number: int, amount: int) -> RateLimit:
    return RateLimit(rate_limit_type=kind, interval=interval, interval_num=number, limit=amount)


def limited(clock: FakeClock, weight: int = 60, orders: int = 5) -> Limiter:
    limiter = Limiter(clock)
    limiter.learn([limit("REQUEST_WEIGHT", "MINUTE", 1, weight), limit("ORDERS", "SECOND", 10, orders)])
    return limiter


def heaviest(uses: list[tuple[dt.datetime, int]], length: dt.timedelta) -> int:
    return max((sum(w for at, w in uses if start <= at < start + length) for start, _ in uses), default=0)


@given(st.lists(st.tuples(gaps, st.integers(1, 40)), max_size=60))
def test_no_minute_ever_carries_more_than_the_limit(calls: list[tuple[dt.timedelta, int]]) -> None:
    clock = FakeClock()
    limiter = limited(clock)
    uses = []
    for gap, weight in calls:
        clock.time += gap
        asyncio.run(limiter.admit(weight))
        uses.append((clock.now(), weight))
    assert heaviest(uses, MINUTE) <= 60


@given(st.lists(st.tuples(gaps, st.integers(1, 40)), max_size=60))
def test_nothing_waits_inside_the_limit_and_never_longer_than_needed(calls: list[tuple[dt.timedelta, int]]) -> None:
    clock = FakeClock()
    limiter = limited(clock)
    uses: list[tuple[dt.datetime, int]] = []
    for gap, weight in calls:
        clock.time += gap
        asked = clock.now()
        asyncio.run(limiter.admit(weight))
        if clock.now() > asked:
            just_before = clock.now() - dt.timedelta(milliseconds=1)
            held = sum(w for at, w in uses if just_before - MINUTE < at <= just_before)
            assert held + weight > 60
        uses.append((clock.now(), weight))


@given(st.lists(gaps, min_size=1, max_size=80))
def test_an_order_is_put_off_exactly_while_and_until_ten_seconds_are_full(waits: list[dt.timedelta]) -> None:
    clock = FakeClock()
    limiter = limited(clock)
    sent: list[dt.datetime] = []
    for wait in waits:
        clock.time += wait / 10
        recent = sum(1 for at in sent if at > clock.now() - dt.timedelta(seconds=10))
        if recent < 5:
            limiter.admit_order()
            sent.append(clock.now())
        else:
            with pytest.raises(RateLimited) as raised:
                limiter.admit_order()
            assert raised.value.retry_at == sent[-5] + dt.timedelta(seconds=10)
    assert clock.slept == []


@given(st.lists(st.tuples(gaps, st.integers(0, 80)), max_size=30))
def test_the_exchanges_own_count_is_never_underestimated(told: list[tuple[dt.timedelta, int]]) -> None:
    clock = FakeClock()
    window = Window(MINUTE, 60, "x")
    for gap, used in told:
        clock.time += gap
        window.observe(clock.now(), used)
        assert window.used(clock.now()) >= used


@given(st.lists(st.tuples(st.integers(-90_000, 90_000), st.integers(1, 20)), max_size=40))
def test_a_clock_set_back_never_makes_a_use_count_for_more_than_a_minute(steps: list[tuple[int, int]]) -> None:
    clock = FakeClock()
    window = Window(MINUTE, 10_000, "x")
    for step, weight in steps:
        clock.time += dt.timedelta(milliseconds=step)
        window.used(clock.now())
        window.use(clock.now(), weight)
    clock.time += MINUTE
    assert window.used(clock.now()) == 0


async def test_the_weight_others_used_at_this_address_counts() -> None:
    gateway, _, clock = scripted(
        Reply({"serverTime": 1709654400007}, headers={"x-mbx-used-weight-1m": "2400"}),
        Reply({"serverTime": 1709654460007}),
    )
    await gateway.sync_clock()
    assert clock.slept == []
    await gateway.sync_clock()
    assert clock.slept == [START + MINUTE]


async def test_a_header_in_capitals_counts_as_well() -> None:
    gateway, _, clock = scripted(
        Reply({"serverTime": 1709654400007}, 200, {"X-MBX-USED-WEIGHT-1M": "2400"}),
        Reply({"serverTime": 1709654460007}),
    )
    await gateway.sync_clock()
    await gateway.sync_clock()
    assert clock.slept == [START + MINUTE]


async def test_a_request_heavier_than_the_whole_limit_is_denied_at_once() -> None:
    clock = FakeClock()
    with pytest.raises(Denied, match="weight 61"):
        await limited(clock).admit(61)
    assert clock.slept == []


async def test_the_limits_of_the_venue_replace_the_defaults() -> None:
    clock = FakeClock()
    limiter = limited(clock, weight=6000)
    limiter.learn([limit("RAW_REQUESTS", "MINUTE", 5, 1), limit("REQUEST_WEIGHT", "FORTNIGHT", 1, 1)])
    for _ in range(6000):
        await limiter.admit(1)
    assert clock.slept == []
    await limiter.admit(1)
    assert clock.slept == [START + MINUTE]


async def test_a_new_kind_of_window_is_kept_beside_the_known_ones() -> None:
    clock = FakeClock()
    limiter = limited(clock)
    limiter.learn([limit("REQUEST_WEIGHT", "HOUR", 1, 100)])
    for _ in range(4):
        await limiter.admit(30)
    assert clock.now() == START + dt.timedelta(hours=1)


async def test_a_cool_down_is_never_shortened_and_passes() -> None:
    clock = FakeClock()
    limiter = limited(clock)
    limiter.cool_down(START + MINUTE)
    limiter.cool_down(START + dt.timedelta(seconds=1))
    assert limiter.cooldown == START + MINUTE
    with pytest.raises(RateLimited) as raised:
        await limiter.admit(1)
    assert raised.value.retry_at == START + MINUTE
    with pytest.raises(RateLimited):
        limiter.admit_order()
    clock.time += MINUTE
    assert limiter.cooldown is None
    await limiter.admit(1)


def test_klines_weigh_more_the_more_rows_are_asked_for() -> None:
    weights = [endpoints.klines(rows).weight for rows in (1, 99, 100, 499, 500, 1000, 1001, 1500)]
    assert weights == [1, 1, 2, 2, 5, 5, 10, 10]
    assert all(low <= high for low, high in pairwise(weights))


async def test_a_share_of_the_weights_leaves_the_rest_to_others_and_counts_orders_in_full() -> None:
    clock = FakeClock()
    limiter = Limiter(clock, 0.5)
    limiter.learn([limit("REQUEST_WEIGHT", "MINUTE", 1, 60), limit("ORDERS", "SECOND", 10, 2)])
    await limiter.admit(30)
    assert clock.slept == []
    await limiter.admit(1)
    assert clock.now() == START + MINUTE
    limiter.admit_order()
    limiter.admit_order()


@pytest.mark.fault(37, 38)
def test_a_cool_down_is_kept_once_it_is_longer_and_one_that_was_kept_holds() -> None:
    clock = FakeClock()
    limiter, kept = Limiter(clock), list[dt.datetime]()
    limiter.keep(START + MINUTE, kept.append)
    assert (limiter.cooldown, kept) == (START + MINUTE, [])
    limiter.cool_down(START + dt.timedelta(seconds=1))
    limiter.cool_down(START + 2 * MINUTE)
    assert kept == [START + 2 * MINUTE]
    with pytest.raises(RateLimited):
        limiter.admit_order()
