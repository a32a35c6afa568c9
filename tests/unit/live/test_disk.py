"""A disk that takes no more, from any write of a close on: nothing leaves that is not durable, and all is made good."""

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
