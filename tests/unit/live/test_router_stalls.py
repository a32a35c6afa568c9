"""One order whose writing or posting a disk or a machine holds up."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.unit.live.exchange import REPLIES, Reply
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, SETTLE, World
from trader.errors import OutcomeUnknown
from trader.journal.rows import Outcome


def stalls(world: World, seconds: float, kind: str | None = None) -> Callable[[], object]:
    """Let disk or machine stand still, and meanwhile a person ask for something."""

    def stall() -> None:
        world.clock.time += timedelta(seconds=seconds)
        if kind is not None:
            world.journal.request(kind, world.clock.now())

    return stall


@pytest.mark.fault(20, 27)
@pytest.mark.parametrize(("step", "delay"), [("mark_sent", 4.9), ("send", 17.9)])
async def test_a_disk_or_machine_that_stands_still_before_a_post_does_not_shorten_the_wait(
    step: str, delay: float, world: World
) -> None:
    """What is signed thirteen seconds after it was written down as sent may arrive until five seconds after that."""
    world.boot().begin()
    world.decide(("o", "8"))
    world.exchange.plan = [Reply(error=REPLIES["never"].error, delay=delay)]
    world.take_steps(Steps(hooks={(step, 0): stalls(world, 13)}))
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    world.agree()


@pytest.mark.fault(2, 27)
async def test_a_start_waits_as_if_what_the_dead_process_sent_had_only_just_left(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.journal.mark_sent(opening.client_id, CLOSE)
    world.clock.time = CLOSE + timedelta(seconds=13)
    world.exchange.plan = [Reply(error=REPLIES["never"].error, delay=4.9)]
    with pytest.raises(OutcomeUnknown):
        await world.exchange.send(opening.request)
    world.boot()
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    world.agree()


@pytest.mark.fault(18, 27)
async def test_a_clock_that_is_set_forward_during_a_post_does_not_lengthen_the_wait_by_as_much(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]]
    ahead = {("send", 0): stalls(world, 3600), ("sync_clock", 0): stalls(world, -3600)}
    world.take_steps(Steps(hooks=ahead))
    assert await world.carry_all() is None
    (first, _, _), (second, _, _) = world.exchange.posts
    assert SETTLE < second - first < timedelta(minutes=1)


@pytest.mark.fault(20)
@pytest.mark.parametrize("leg", ["c", "o"])
async def test_an_order_that_grew_too_old_while_it_was_written_down_is_not_sent(leg: str, world: World) -> None:
    world.boot().begin("10" if leg == "c" else "0")
    (one,) = world.decide((leg, "-10"))
    world.take_steps(Steps(hooks={("mark_sent", 0): stalls(world, 1500)}))
    assert await world.carry_all() is None
    assert world.exchange.posts == []
    assert world.record(one).outcome is Outcome.EXPIRED
    assert world.log.said("writing took long") == [{"client_id": one.client_id, "seconds": 1500.0}]


@pytest.mark.fault(20, 81)
async def test_what_a_person_says_while_an_order_is_written_down_for_long_is_obeyed(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.take_steps(Steps(hooks={("mark_sent", 0): stalls(world, 2, "halt")}))
    assert await world.carry_all() is None
    assert world.exchange.posts == []
    assert world.record(opening).outcome is Outcome.DENIED


@pytest.mark.fault(20)
async def test_a_disk_that_is_slow_every_time_keeps_no_order_from_leaving(world: World) -> None:
    world.boot().begin("10")
    world.decide(("c", "-10"), ("o", "-6"))
    world.take_steps(Steps(hooks={("mark_sent", turn): stalls(world, 3) for turn in range(9)}))
    assert await world.carry_all() is None
    assert world.exchange.position() == -6
    world.agree()
