"""Serve the embedded exchange alone, for other clients."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType

from trader.app import embedded, places, venues
from trader.app.tapes import TapeChoice
from trader.config import Settings

_OWNER = "standalone"


def serve(settings: Settings, tape: TapeChoice, *, port: int, speed: float | None, faults: Path | None) -> int:
    """Serve until interrupted and return the exchange's exit code.

    Its first line goes to stdout, and its port is announced in the data directory, where a daemon finds it.

    Args:
        settings: data directory and money.
        tape: what is played.
        port: on 127.0.0.1, 0 for a free one.
        speed: venue seconds a second, infinite for a millisecond a request. None is wall time: on the generated market
            the time outside, which clients sign with that know no other, else from the tape's beginning.
        faults: a fault plan.
    """
    home = places.tape_folder(settings.data_dir, f"{tape.label}.{_OWNER}", tape.identity(settings, _OWNER))
    words = [*tape.arguments(settings), "--port", str(port), "--clock", _clock(tape, speed)]
    if tape.end is not None:
        words += ["--to", tape.end.isoformat()]
    if faults is not None:
        words += ["--faults", str(faults.resolve())]
    exchange = embedded.start(home, words)
    announcement = venues.announce(settings, exchange.ready)
    signal.signal(signal.SIGTERM, _leave)
    try:
        sys.stdout.write(json.dumps(exchange.ready) + "\n")
        sys.stdout.flush()
        return exchange.process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        announcement.unlink(missing_ok=True)
        exchange.close()


def _clock(tape: TapeChoice, speed: float | None) -> str:
    if speed is None:
        return "real" if tape.candles is None and tape.start is None else "wall"
    return "stepped" if speed == float("inf") else repr(speed)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
