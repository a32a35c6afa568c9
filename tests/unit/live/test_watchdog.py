"""What hangs ends: a loop that stands still, a call that never comes back, a close that never ends, a crash loop."""

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.unit.live.exchange import FakeExchange, Reply
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, MAX_DELAY, World
from trader.app.starts import WINDOW, Starts
from trader.domain.decision import State
from trader.domain.order import Order, OrderRequest
from trader.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited
from trader.journal.rows import Status
from trader.live.bounded import bounded
from trader.live.watchdog import Watchdog

ROOT = Path(__file__).parents[3]
NEXT = CLOSE + INTERVAL.delta
BLOCKED = """
import asyncio, threading
from trader.live.watchdog import watched

async def live():
    async with watched(1.0):
        await asyncio.sleep(0)
        threading.Event().wait()

asyncio.run(live())
"""


@pytest.mark.fault(12)
def test_a_loop_that_stands_still_ends_the_process_and_leaves_every_stack() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 70
    assert "stood still" in done.stderr
    assert "in live" in done.stderr
    assert done.stderr.count("Thread 0x") + done.stderr.count("Current thread") >= 2


@pytest.mark.fault(12)
def test_a_watchdog_bites_only_without_beats() -> None:
    bitten = threading.Event()
    silent = Watchdog(0.05, lambda seconds: bitten.set())
    silent.start()
    assert bitten.wait(30)
    silent.stop()
    bitten.clear()
    fed = Watchdog(3600, lambda seconds: bitten.set())
    fed.start()
    fed.beat()
    fed.stop()
    assert not bitten.is_set()


class Hanging(FakeExchange):
    """Never comes back from a call whose name is given, the first time."""

    hangs = ""
    hung: asyncio.Event

    async def _enter(self, name: str) -> None:
        await super()._enter(name)
        if name == self.hangs:
            self.hangs = ""
            self.hung.set()
            await asyncio.Event().wait()


@pytest.mark.fault(13)
async def test_a_call_that_never_comes_back_ends_and_an_order_is_then_unknown(world: World) -> None:
    exchange = Hanging(world.clock)
    exchange.hung = asyncio.Event()
    gateway = bounded(exchange, 0.01)
    request = OrderRequest("t", "ADAUSDT", cast("int", 1), reduce_only=False)  # type: ignore[arg-type]
    exchange.hangs = "account"
    with pytest.raises(ExchangeError, match="did not bring account"):
        await gateway.account()
    assert (await gateway.account()).equity == 10_000
    exchange.hangs = "send"
    with pytest.raises(OutcomeUnknown, match="looked up"):
        await gateway.send(request)
    assert isinstance(await gateway.send(request), Order)


@pytest.mark.fault(13)
@pytest.mark.parametrize("name", ["candles", "account", "prices", "instruments", "incomes", "send", "fills", "setup"])
async def test_a_close_that_hangs_at_any_step_is_tried_again_and_has_one_effect(name: str, world: World) -> None:
    await world.run(cycles=1)
    hanging = Hanging(world.clock)
    vars(hanging).update(vars(world.exchange))
    hanging.hung = asyncio.Event()
    world.exchange = hanging
    world.boot(Steps(), end=NEXT, cycle=0.2)
    world.exchange.hangs = name
    world.clock.time = NEXT
    await world.cycle.measure()
    if name in {"send", "candles"}:
        await world.daemon.run()
        assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
        assert world.exchange.position() == -5000
        world.agree()
    else:
        world.exchange.hangs = name
        hangs = asyncio.ensure_future(world.cycle.run(NEXT))
        await hanging.hung.wait()
        hangs.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hangs
        await world.cycle.run(NEXT)
        assert world.exchange.position() == -5000
        world.agree()


@pytest.mark.fault(13, 38)
async def test_a_ban_in_the_middle_of_a_flatten_ends_the_try_within_the_bound_and_the_next_one_goes_on(
    world: World,
) -> None:
    await world.run(cycles=1)
    world.boot(cycle=0.5)
    until = world.clock.now() + timedelta(hours=3)
    world.exchange.plan = [Reply(effect=False, error=RateLimited("banned", retry_at=until, status=418))]
    world.clock.frozen = True
    async with asyncio.timeout(5):
        with pytest.raises(ExchangeError, match=r"The flatten came to no end within 0\.5 s"):
            await world.flattener.run()
    assert world.exchange.position() == 5000
    assert len(world.journal.open_intents()) == 1
    world.clock.frozen, world.clock.time = False, until
    assert await world.flattener.run() in {"ADAUSDT -5000", "nothing was held"}
    assert world.exchange.position() == 0
    world.agree()


@pytest.mark.fault(13)
async def test_what_an_earlier_close_left_is_finished_within_the_bound_of_a_try(world: World) -> None:
    await world.run(cycles=1)
    world.boot(Steps(), end=NEXT, cycle=0.05)
    world.clock.time = NEXT + MAX_DELAY + timedelta(minutes=1)

    async def hang() -> None:
        await asyncio.Event().wait()

    world.cycle.finish_decided = hang  # type: ignore[assignment,method-assign]
    async with asyncio.timeout(5):
        await world.daemon.run()
    assert "What earlier closes left came to no end" in world.log.said("close failed")[-1]["error"]


@pytest.mark.fault(14)
def test_starts_that_come_to_nothing_are_counted_until_one_prospers(tmp_path: Path) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert [Starts(tmp_path).begin(now + n * second) for n in range(3)] == [1, 2, 3]
    assert Starts(tmp_path).begin(now + WINDOW + second) == 2
    starts = Starts(tmp_path)
    starts.begin(now + WINDOW + second)
    starts.prosper()
    starts.prosper()
    assert Starts(tmp_path).begin(now + WINDOW + 2 * second) == 1


@pytest.mark.fault(14)
@pytest.mark.parametrize("content", ["", "{", "[1]", '["yesterday"]'])
def test_a_count_that_cannot_be_read_keeps_nobody_from_starting(content: str, tmp_path: Path) -> None:
    (tmp_path / "starts.json").write_text(content)
    assert Starts(tmp_path).begin(datetime(2024, 1, 1, tzinfo=UTC)) == 1
    assert Starts(tmp_path / "nowhere").begin(datetime(2024, 1, 1, tzinfo=UTC)) == 1


@pytest.mark.fault(20, 82)
@pytest.mark.parametrize(("days", "state"), [(6, State.ACTIVE), (8, State.HALTED)])
async def test_a_very_long_sleep_opens_nothing_until_a_person_resumes(days: int, state: State, world: World) -> None:
    await world.run(cycles=1)
    world.clock.time = INTERVAL.floor(CLOSE + timedelta(days=days))
    await world.run(end=world.clock.now())
    assert world.state() is state
    assert list(world.statuses().values())[1:-1] == [Status.MISSED] * (len(world.statuses()) - 2)
    assert (len(world.exchange.posts) == 1) is (state is State.HALTED)
    world.journal.request("resume", world.clock.now())
    world.clock.time += INTERVAL.delta
    posts = len(world.exchange.posts)
    await world.run(end=world.clock.now())
    assert world.state() is State.ACTIVE
    assert len(world.exchange.posts) >= posts
    assert abs(world.exchange.position()) == 5000
    world.agree()


@pytest.mark.fault(38, 82)
async def test_an_outage_of_the_exchange_as_long_halts_a_daemon_that_was_awake_all_the_time(world: World) -> None:
    """Every close is claimed and fails: what is claimed is no decision."""
    await world.run(cycles=1)
    posts = len(world.exchange.posts)
    for _ in range(11):
        world.clock.time = INTERVAL.following(INTERVAL.floor(world.clock.now()))
        world.journal.claim(world.clock.now(), world.clock.now())
        world.journal.fail(world.clock.now(), "the exchange is out", world.clock.now())
    world.clock.time = INTERVAL.following(world.clock.now())
    await world.run(end=world.clock.now())
    assert world.state() is State.HALTED
    assert "nothing was decided since" in world.journal.state().why
    assert len(world.exchange.posts) == posts
    halts = len(world.journal.states())
    world.clock.time = INTERVAL.following(INTERVAL.floor(world.clock.now()))
    await world.run(end=world.clock.now())
    assert len(world.journal.states()) == halts
    world.journal.request("resume", world.clock.now())
    world.clock.time = INTERVAL.following(INTERVAL.floor(world.clock.now()))
    await world.run(end=world.clock.now())
    assert world.state() is State.ACTIVE
    world.agree()


@pytest.mark.fault(17, 18)
async def test_a_clock_set_forward_over_closes_writes_none_of_them_down(world: World) -> None:
    """The exchange's time corrects ours before anything is concluded from it."""
    await world.run(cycles=1)
    true = NEXT - timedelta(minutes=1)
    world.clock.time = NEXT + 3 * INTERVAL.delta
    hooks = {("sync_clock", 1): lambda: setattr(world.clock, "time", true)}
    await world.run(Steps(hooks={**hooks}), end=NEXT)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}


@pytest.mark.fault(17)
async def test_while_the_exchange_s_time_is_not_known_no_close_is_given_up(world: World) -> None:
    await world.run(cycles=1)
    now = world.clock.time = CLOSE + 3 * INTERVAL.delta
    # the start asks once, and then the close
    asked = world.exchange._turns["sync_clock"]
    world.exchange.faults = {("sync_clock", asked + turn): NotSent("no route") for turn in (1, 2, 3)}
    await world.run(end=now)
    assert world.log.said("the exchange's time is not known")
    assert list(world.statuses().values()) == [Status.CLOSED, Status.MISSED, Status.MISSED, Status.CLOSED]
