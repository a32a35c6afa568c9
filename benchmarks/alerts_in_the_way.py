"""From the decision being durable to its order leaving, with nobody to tell and with notifiers that behave badly.

Not a row of the budgets: `python -m benchmarks.alerts_in_the_way [closes]` prints one JSON document. The daemon decides
closes of a generated market; runs with and without alerts take turns. With them everything is told that can be, and the
addresses are a server that takes all and says nothing, one that answers no HTTP, and one that drips.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from tests.unit.notify.servers import misbehaving

ROUNDS = 6


@contextmanager
def timed(taken: list[float]) -> Iterator[None]:
    """Take the time between the end of `record_decision` and the start of each `send`, in milliseconds."""
    from trader.exchange.binance import BinanceGateway
    from trader.journal.journal import Journal

    record, send = Journal.record_decision, BinanceGateway.send
    decided = [0]

    def recorded(*given: Any, **named: Any) -> None:
        record(*given, **named)
        decided[0] = perf_counter_ns()

    async def sent(*given: Any, **named: Any) -> Any:
        if decided[0]:
            taken.append((perf_counter_ns() - decided[0]) / 1e6)
            decided[0] = 0
        return await send(*given, **named)

    Journal.record_decision, BinanceGateway.send = recorded, sent  # type: ignore[method-assign]
    try:
        yield
    finally:
        Journal.record_decision, BinanceGateway.send = record, send  # type: ignore[method-assign]


def run(closes: int, urls: list[str]) -> list[float]:
    """Decide so many closes and return the milliseconds of those that sent an order."""
    from trader.app.daemon import RunOptions, run_daemon
    from trader.app.settings import load_settings
    from trader.app.tapes import TapeChoice
    from trader.log import configure

    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder, timed(taken):
        for name in [name for name in os.environ if name.startswith("TRADER_")]:
            del os.environ[name]
        os.environ |= {"TRADER_DATA_DIR": str(Path(folder) / "data"), "TRADER_LOG__LEVEL": "ERROR"}
        os.environ |= {"TRADER_RISK__MAX_DRAWDOWN": "1", "TRADER_STATUS__ENABLED": "false"}
        if urls:
            os.environ |= {"TRADER_ALERTS__URLS": " ".join(urls), "TRADER_ALERTS__LEVEL": "info"}
            os.environ |= {"TRADER_ALERTS__PING": urls[0].replace("json", "http"), "TRADER_ALERTS__PING_EVERY": "10"}
        settings = load_settings()
        configure(settings.log)
        asyncio.run(run_daemon(settings, RunOptions(TapeChoice(), cycles=closes, speed=57600 / 0.5)))
    return taken


@contextmanager
def servers() -> Iterator[list[str]]:
    """Serve from a process of its own, and give the addresses."""
    ours, theirs = multiprocessing.Pipe()

    def serve() -> None:
        with ExitStack() as stack:
            theirs.send([stack.enter_context(misbehaving(kind)) for kind in ("black hole", "liar", "slow")])
            theirs.recv()

    process = multiprocessing.get_context("fork").Process(target=serve)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def main(closes: int) -> None:
    """Take turns, and print medians and tails."""
    alone: list[float] = []
    beside: list[float] = []
    with servers() as places:
        for turn in range(ROUNDS):
            arms = [(alone, []), (beside, [f"json://{place}/" for place in places])]
            for taken, urls in arms if turn % 2 else arms[::-1]:
                taken += run(closes, urls)
    document = {
        name: {
            "orders": len(taken),
            "median_ms": round(statistics.median(taken), 3),
            "p90_ms": round(statistics.quantiles(taken, n=10)[-1], 3),
            "worst_ms": round(max(taken), 3),
        }
        for name, taken in (("without", alone), ("with", beside))
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
