"""Run the daemon as the command line asks for it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from trader.app.alerting import Alerting
from trader.app.assembly import Assembly, assembled, enter_stage
from trader.app.current import require_nothing_unattended
from trader.app.drifting import DriftWatch
from trader.app.outages import Notice, patience
from trader.app.pulse import Pulse, manager
from trader.app.renewal import Renewal, note
from trader.app.results import Trade, document
from trader.app.starts import WINDOW, Starts
from trader.app.strategies import drift_limits
from trader.app.tapes import TapeChoice
from trader.app.watching import Watch
from trader.config import Settings
from trader.domain.account import Income
from trader.domain.decision import CloseReport, State
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.errors import TraderError
from trader.exchange.clock import TapeEnded
from trader.execution.round_trips import Funding
from trader.journal.journal import Journal
from trader.journal.protection import LEG
from trader.live.daemon import Daemon, Span
from trader.live.patience import Begin
from trader.live.watchdog import watched

FUNDING, CLEARED = "FUNDING_FEE", "INSURANCE_CLEAR"
_MINUTE = "%Y-%m-%dT%H:%MZ"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line adds to the settings.

    `speed` is infinite for `max` and None for the venue's own pace; `collect` keeps every close for a document at the
    end; `on_close` is told of each, and `show` what there is to see for as long as the daemon runs.
    """

    tape: TapeChoice
    cycles: int | None = None
    speed: float | None = None
    adopt: bool = False
    collect: bool = False
    on_close: Callable[[CloseReport], None] = lambda report: None
    show: Callable[[Watch], AbstractContextManager[None]] = lambda watch: nullcontext()


async def run_daemon(settings: Settings, options: RunOptions) -> dict[str, Any] | None:
    """Run the daemon to its end.

    Returns:
        The document of this run, None where nothing was to be collected.

    Raises:
        TraderError: start-up was refused, or the run cannot go on.
    """
    with Alerting(settings) as alerts:
        return await _run(settings, options, alerts)


async def _run(settings: Settings, options: RunOptions, alerts: Alerting) -> dict[str, Any] | None:
    require_nothing_unattended(settings, "run")
    reports: list[CloseReport] = []
    async with assembled(settings, options.tape, options.speed) as one:
        pulse = Pulse(one.lock.journal, manager(), one.log)
        starts = _counted(one, settings.watchdog.crashes, alerts)
        before = one.journal.equity_points(last=1)
        interval = one.loaded.strategy.interval
        watch = Watch(one, settings)
        drift = DriftWatch(one.journal, one.costs, drift_limits(settings, one.loaded), one.control, one.log)

        def on_close(report: CloseReport) -> None:
            starts.prosper()
            if options.collect:
                reports.append(report)
            drift.look()
            pulse.status(_status(report, interval))
            watch.tell()
            alerts.look()
            options.on_close(report)

        def on_ready() -> None:
            enter_stage(settings, one.loaded, one.journal, one.venue.clock.now())
            one.lock.ready()
            watch.ready()
            upcoming = interval.following(one.venue.clock.now())
            pulse.ready(f"{one.control.state()}: waits for the close at {upcoming:{_MINUTE}}")

        def renewed(now: Assembly, asked: Settings) -> None:
            watch.follow(now, asked)
            drift.renew(drift_limits(asked, now.loaded))

        patient = patience(settings, one, Notice(one, pulse, watch, alerts), adopt=options.adopt)
        daemon = _daemon(one, settings, options, on_close, on_ready, partial(_cooldown, one, pulse), patient)
        note(one, settings)
        daemon.renew = Renewal(one, settings, alerts, renewed)
        alerts.begin(one, lambda: daemon.deciding)
        try:
            async with pulse.beating(), watched(settings.watchdog.stall), watch.shown(settings):
                with options.show(watch):
                    await daemon.run(adopt=options.adopt)
        except TapeEnded as ended:
            one.log.info("tape ended", why=str(ended))
        except TraderError:
            # it ended in order, and says why
            starts.prosper()
            raise
        starts.prosper()
        if not options.collect:
            return None
        begun = one.journal.baseline()
        start = (before[-1].close, before[-1].equity) if before else (begun.at, begun.equity)
        return _document(one, reports, *start)


def _daemon(
    one: Assembly,
    settings: Settings,
    options: RunOptions,
    on_close: Callable[[CloseReport], None],
    on_ready: Callable[[], None],
    cooldown: Callable[[], datetime | None],
    patient: Callable[[Begin, asyncio.Event], Awaitable[bool]],
) -> Daemon:
    return Daemon(
        one.loaded.strategy,
        one.terms,
        Span(options.cycles, options.tape.end, one.venue.wake_after_close, cycle=settings.watchdog.cycle),
        one.journal,
        one.venue.clock,
        one.startup,
        one.cycle,
        one.control,
        one.flattener,
        one.log,
        on_close,
        on_ready,
        cooldown,
        one.venue.jumped,
        patient,
    )


def _counted(one: Assembly, allowed: int, alerts: Alerting) -> Starts:
    """Count this start, and halt where too many before it ended before they decided anything."""
    starts = Starts(one.journal.path.parent)
    count = starts.begin(datetime.now(UTC))
    if count > 1:
        alerts.crashed(count - 1)
    if allowed and count > allowed:
        why = f"{count - 1} starts within {WINDOW} crashed before they decided a close; find out why, then resume"
        one.control.restrict(State.HALTED, why, "start-up")
    return starts


def _cooldown(one: Assembly, pulse: Pulse) -> datetime | None:
    """Return until when the exchange wants no request, and say that the daemon waits for it."""
    until = one.venue.gateway.cooldown
    if until is not None:
        pulse.ready(f"{one.control.state()}: asks nothing before {until:{_MINUTE}}, as the exchange wants")
    return until


def _status(report: CloseReport, interval: Interval) -> str:
    """Say a close in the one line a service manager shows."""
    held = ", ".join(f"{symbol} {quantity}" for symbol, quantity in report.positions.items() if quantity) or "nothing"
    return (
        f"{report.state}: decided {report.close:{_MINUTE}}, holds {held}, equity {report.equity:.2f}; next close "
        f"{interval.following(report.close):{_MINUTE}}"
    )


def _document(one: Assembly, reports: list[CloseReport], start: datetime, start_equity: Decimal) -> dict[str, Any]:
    """Write a run as a document; what was booked between `start`, when the equity was, and the first close is in it."""
    since = reports[0].close if reports else None
    trades, forced = _trades(one.journal, since) if since else ([], [])
    booked = one.journal.incomes(since=start) if since else []
    paid = [booking for booking in booked if booking.kind == FUNDING and booking.time > start]
    return document(
        one.loaded.strategy,
        reports,
        trades,
        start_equity=start_equity,
        fees=sum((trade.fee for trade in trades), Decimal(0)) + sum((fill.fee for fill in forced), Decimal(0)),
        bookings=[Funding(income.time, income.symbol, income.amount) for income in paid],
        forced=forced,
        generated=one.venue.generated,
        cleared=_cleared(booking for booking in booked if since and booking.time >= since),
    )


def _cleared(incomes: Iterable[Income]) -> dict[str, Decimal]:
    """Add up what liquidations under cross margin took or gave besides, by the symbol it was booked under."""
    found: dict[str, Decimal] = {}
    for one in incomes:
        if one.kind == CLEARED:
            found[one.symbol] = found.get(one.symbol, Decimal(0)) + one.amount
    return found


def _trades(journal: Journal, since: datetime) -> tuple[list[Trade], list[Fill]]:
    """List the fills of this run's orders, each with the close that caused it, and those the exchange sent."""
    orders = (record for record in journal.orders(since=since) if record.intent.leg != LEG)
    closes = {record.exchange_id: record.intent.close for record in orders}
    trades: list[Trade] = []
    forced: list[Fill] = []
    for fill in journal.fills(since=since):
        close = closes.get(fill.exchange_id)
        if close is None:
            forced.append(fill)
        else:
            trades.append(Trade(close, fill.symbol, fill.quantity, fill.price, fill.fee, fill.realised))
    return trades, forced
