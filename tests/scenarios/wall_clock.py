"""Run the command line on an embedded exchange as on a real one: by this machine's clock and what was measured.

    python -m tests.scenarios.wall_clock run ...

Only the choice of the clock is another than the product's, which takes the embedded exchange's own on a loopback; and
it is looked at twice a second rather than every twenty seconds, so that a test need not wait.
"""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from trader.app import venues
from trader.config import Settings
from trader.domain.interval import Interval
from trader.exchange import clock as clocks
from trader.exchange.loopback import Loopback


def by_the_wall(
    settings: Settings, ready: dict[str, Any], interval: Interval, speed: float | None, stack: AsyncExitStack
) -> venues.Venue:
    clock = clocks.WallClock()
    keys = (str(ready["api_key"]), str(ready["api_secret"]))
    gateway = venues._gateway(settings, keys, clock, Loopback(int(ready["port"]), Path(ready["ca"])), stack)
    return venues.Venue(clock, gateway, "", True, venues._WAKE_AFTER_CLOSE, jumped=clock.jumped)


if __name__ == "__main__":
    from trader.cli import main

    venues._stepped = by_the_wall
    clocks._PIECE = 0.5
    main()
