"""What people ask of a running or a stopped instance."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trader.app import tapes, venues
from trader.app.assembly import assembled
from trader.app.current import journal_path, require_meant
from trader.app.strategies import load_strategy
from trader.config import Settings
from trader.domain.order import Order
from trader.domain.wording import money
from trader.errors import ConfigError
from trader.exchange.binance import BinanceGateway
from trader.execution.reconcile import differences, mispriced
from trader.journal.journal import Journal
from trader.journal.lock import holder
from trader.journal.queries import Reader
from trader.live.control import FLATTEN
from trader.status.summary import standing

_CENT = Decimal("0.01")


def request(settings: Settings, kind: str) -> dict[str, Any]:
    """Leave a request in the journal: obeyed before the next order, and by the next start where nobody runs.

    Raises:
        ConfigError: no venue is said, and another one than the embedded exchange may be meant.
    """
    require_meant(settings, kind)
    path = journal_path(settings)
    journal = Journal.attach(path)
    try:
        number = journal.request(kind, datetime.now(UTC))
    finally:
        journal.close()
    daemon = holder(path)
    return _answer(settings, kind, number, daemon.pid if daemon else None)


async def flatten(settings: Settings) -> dict[str, Any]:
    """Close every position: by request where a daemon runs, else with this process as the daemon.

    Raises:
        ConfigError: no venue is said, and another one than the embedded exchange may be meant.
        TraderError: this process could not be the daemon; then nothing was asked for and nothing was sent.
    """
    require_meant(settings, FLATTEN)
    if holder(journal_path(settings)) is not None:
        return request(settings, FLATTEN)
    settings, tape = tapes.again(settings)
    async with assembled(settings, tape, None, closing=True) as one:
        with one.venue.clock.working():
            await one.startup.before_flatten()
            number = one.journal.request(FLATTEN, one.venue.clock.now())
            one.control.state()
            pending = one.control.flatten_pending()
            closed = await one.flattener.run()
            one.control.flattened(pending, closed)
    return _answer(settings, FLATTEN, number, None) | {"closed": closed}


def _answer(settings: Settings, kind: str, number: int, daemon: int | None) -> dict[str, Any]:
    """Answer a request; the venue is in it, because the embedded exchange is what is meant where none is said."""
    return {"request": kind, "number": number, "venue": settings.venue, "daemon": daemon}


async def reconcile(settings: Settings) -> dict[str, Any]:
    """Compare journal and exchange without changing either.

    Raises:
        ConfigError: in a dry run, where the book is imagined and there is nothing to compare it with.
    """
    if settings.dry_run:
        raise ConfigError("A dry run's book is imagined, so no exchange can differ from it; unset TRADER_DRY_RUN.")
    path = journal_path(settings)
    running = holder(path) is not None
    settings, tape = tapes.again(settings)
    interval = load_strategy(settings).strategy.interval
    async with AsyncExitStack() as stack:
        venue = await venues.open_venue(settings, tape, path.parent, interval, None, stack, running=running)
        journal = stack.enter_context(Reader.read(path))
        with venue.clock.working():
            await venue.gateway.sync_clock()
            return await compare(journal, venue.gateway)


def unknown(journal: Reader, resting: Iterable[Order]) -> list[Order]:
    """Return the orders at rest that are none of the stops that stand."""
    standing = {record.client_id for record in journal.standing_stops()}
    return [order for order in resting if order.client_id not in standing]


async def _stops(journal: Reader, gateway: BinanceGateway) -> list[str]:
    """List the stops that the journal says stand and the exchange does not."""
    found = []
    for record in journal.standing_stops():
        stop = await gateway.find_stop(record.symbol, record.client_id)
        if stop is None or stop.done:
            word = "not known there" if stop is None else f"{stop.status} there"
            found.append(f"the stop {record.client_id} of {record.symbol} is {word}; the next close puts that right")
    return found


async def compare(journal: Reader, gateway: BinanceGateway) -> dict[str, Any]:
    """List every difference between a journal and its account."""
    account = await gateway.account()
    found = [str(difference) for difference in differences(journal.positions(), account)]
    resting = await gateway.open_orders()
    found += [f"the order {order.client_id} rests on the exchange" for order in unknown(journal, resting)]
    found += await _stops(journal, gateway)
    found += [f"the order {record.intent.client_id} has no certain end" for record in journal.open_intents()]
    for symbol, held in journal.held().items():
        priced = mispriced(symbol, held.cost, account.positions[symbol]) if symbol in account.positions else None
        found += [priced.text] if priced else []
    begun = journal.baseline()
    known = {(income.id, income.kind): income.amount for income in journal.incomes(since=begun.at)}
    since = journal.last_income_time() or begun.at
    known |= {(income.id, income.kind): income.amount for income in await gateway.incomes(since)}
    booked = begun.wallet + sum(known.values(), Decimal(0))
    if abs(booked - account.wallet) >= _CENT:
        found.append(f"the journal's bookings make a wallet of {money(booked)}, the exchange says {account.wallet}")
    paid = {coin: money(amount) for coin, amount in journal.paid_elsewhere().items()}
    return ({"fees_in_other_coins": paid} if paid else {}) | {
        "differences": found,
        "position": {symbol: money(p.quantity) for symbol, p in account.positions.items() if p.quantity},
        "stops": standing(journal),
        "wallet": money(account.wallet),
        "booked": money(booked),
        "equity": money(account.equity),
    }
