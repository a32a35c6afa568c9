"""A disk that takes no more, from any write of a close on: nothing leaves that is not durable, and all is made good."""

import sqlite3
from collections.abc import Callable

import pytest

from tests.unit.live.exchange import REPLIES
from tests.unit.live.steps import WRITES, Steps
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.errors import JournalError
from trader.journal.rows import Status

NEXT = CLOSE + INTERVAL.delta


def read_only(world: World, on: bool) -> None:
    """Let SQLite itself refuse every write, as on a disk that became read-only."""
    world.journal._database._raw.execute(f"PRAGMA query_only = {'ON' if on else 'OFF'}")


@pytest.mark.fault(8, 9)
@pytest.mark.parametrize("kind", ["confirmed", "executed"])
async def test_a_disk_that_takes_no_more_from_any_write_on_sends_nothing_that_is_not_durable(
    kind: str, next_world: Callable[..., World]
) -> None:
    async def live(number: int | None) -> World:
        world = next_world()
        await world.run(cycles=1)
        world.exchange.plan = [REPLIES[kind], REPLIES["confirmed"]]
        steps = Steps()
        if number is not None:
            steps.hooks[number] = lambda: read_only(world, on=True)
        if number is None:
            await world.run(steps, end=NEXT)
            return world
        with pytest.raises(JournalError, match="read-only") as refused:
            await world.run(steps, end=NEXT)
        assert refused.value.exit_code == 74
        return world

    names = (await live(None)).steps.names
    writes = [number for number, name in enumerate(names) if name in WRITES]
    assert len(writes) > 10
    for number in writes:
        world = await live(number)
        # no post follows the write that failed
        assert "send" not in world.steps.names[number:]
        for _, request, _ in world.exchange.posts:
            record = world.journal.order(request.client_id)
            assert record is not None
            assert record.sends
        read_only(world, on=False)
        world.clock.frozen = False
        await world.run(end=NEXT)
        assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
        assert world.exchange.position() == -5000
        world.agree()
        world.obeyed()


def busy(world: World) -> sqlite3.Connection:
    """Let another process write to the journal, and wait for no more than a moment until it is done."""
    world.journal._database._raw.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.mark.fault(10)
async def test_a_journal_that_another_process_writes_for_a_while_is_waited_for_at_any_write(
    new_world: Callable[..., World],
) -> None:
    async def live(number: int | None) -> World:
        world = new_world()
        await world.run(cycles=1)
        world.clock.time = NEXT
        steps = Steps()
        if number is not None:
            steps.hooks[number] = lambda: held.append(busy(world))
            # it is done when the next step is taken, at the next try
            steps.hooks[number + 1] = lambda: held[-1].close()
        await world.run(steps, end=NEXT)
        return world

    held: list[sqlite3.Connection] = []
    names = (await live(None)).steps.names
    # of bookings there are none, and none are written
    writes = [number for number, name in enumerate(names) if name in WRITES and name != "record_incomes"]
    for number in writes[writes.index(names.index("claim")) :]:
        held.clear()
        world = await live(number)
        assert held
        assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
        assert world.exchange.position() == -5000
        assert len(world.log.said("close not decided yet")) == 1
        world.agree()
        world.obeyed()


@pytest.mark.fault(10)
async def test_a_journal_that_stays_busy_skips_the_close_and_the_daemon_lives_on(world: World) -> None:
    await world.run(cycles=1)
    other: list[sqlite3.Connection] = []
    world.clock.time = NEXT
    world.exchange._later.append((NEXT + INTERVAL.delta, lambda: [one.close() for one in other]))
    await world.run(Steps(hooks={("claim", 0): lambda: other.append(busy(world))}), end=NEXT + INTERVAL.delta)
    assert other
    assert world.statuses()[NEXT + INTERVAL.delta] is Status.CLOSED
    assert world.statuses()[NEXT] is Status.MISSED
    (said,) = world.log.said("close failed")
    assert said["kind"] == "JournalBusy"
    world.agree()
