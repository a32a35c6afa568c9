"""The klines of many symbols in one burst: what fails of one symbol is that symbol's matter."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import polars as pl

from trader.errors import ExchangeError, RateLimited
from trader.exchange import answers, endpoints
from trader.exchange.answers import Row
from trader.exchange.calls import Calls
from trader.exchange.klines import Span, Unpublished, frame_of

_PAUSES = (timedelta(seconds=1), timedelta(seconds=2))
_TOO_MANY = 10  # one in so many may fail by itself; beyond that it is the exchange that does


async def burst(
    calls: Calls, symbols: Sequence[str], span: Span, least: int | None
) -> tuple[pl.DataFrame, Mapping[str, str]]:
    """Ask for the klines of a span and build its candles; `least` as `Market.candles` says.

    Returns:
        A candle frame, and by name why a symbol is not in it.

    Raises:
        Unpublished: the newest candle is told of no symbol yet.
        ExchangeError: klines cannot be had, of one symbol that is needed or of too many.
        DataError: those of a symbol that is needed cannot be used, or of all.
    """
    names = list(dict.fromkeys(symbols))
    rows, failed = await _asked(calls, names, span, strict=least is None)
    frame, problems = frame_of(rows, span, endpoints.klines(1).where, least)
    for pause in _PAUSES:
        late = [name for name, problem in problems.items() if isinstance(problem, Unpublished)]
        if not late:
            break
        await calls.clock.sleep_until(calls.clock.now() + pause)
        again, _ = await _asked(calls, late, span, strict=False)
        rows |= again
        frame, problems = frame_of(rows, span, endpoints.klines(1).where, least)
    reasons = {name: str(problem) for name, problem in (failed | problems).items()}
    return frame, dict(sorted(reasons.items()))


async def _asked(
    calls: Calls, names: Sequence[str], span: Span, *, strict: bool
) -> tuple[dict[str, list[Row]], dict[str, Exception]]:
    """Return the raw rows of each symbol, and what became of those that could not be had."""
    failed: dict[str, Exception] = {}
    told: dict[tuple[str, int], list[Row]] = {}

    async def ask(name: str, first: int, limit: int) -> None:
        if name in failed:
            return
        try:
            told[name, first] = await _klines(calls, span, name, first, limit)
        except RateLimited:
            raise
        except ExchangeError as error:
            failed[name] = error
            if strict or len(failed) == len(names) or len(failed) > max(1, len(names) // _TOO_MANY):
                raise

    pages: list[Callable[[], Awaitable[None]]] = [
        partial(ask, name, first, limit) for name in names for first, limit in span.pages
    ]
    await calls.side_by_side(pages)
    had = [name for name in names if name not in failed]
    return {name: [row for first, _ in span.pages for row in told[name, first]] for name in had}, failed


async def _klines(calls: Calls, span: Span, symbol: str, first: int, limit: int) -> list[Row]:
    parameters = {
        "symbol": symbol,
        "interval": str(span.native),
        "startTime": first,
        "endTime": first + limit * span.native.milliseconds - 1,
        "limit": limit,
    }
    return await calls.ask(endpoints.klines(limit), parameters, answers.ROWS)
