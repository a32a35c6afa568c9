"""Wire one instance together: what `run`, `flatten` and `reconcile` have in common."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog
from structlog.typing import FilteringBoundLogger

from trader.app import places, venues
from trader.app.disk import require_space
from trader.app.strategies import (
    Loaded,
    first_close,
    follow_rules,
    limits,
    load_strategy,
    max_delay,
    max_outage,
    require_times,
    wire_limits,
)
from trader.app.tapes import TapeChoice, read_tape, require_paid
from trader.app.venues import Venue, open_venue
from trader.app.worth import Worth
from trader.config import Settings
from trader.decide import Strategy
from trader.domain.interval import Interval
from trader.domain.order import client_prefix
from trader.errors import ConfigError, ModelError, NotPermitted, TraderError
from trader.exchange.clock import WallClock
from trader.exchange.paper import PaperGateway
from trader.execution.fills import Costs
from trader.execution.reconcile import Policies
from trader.journal.database import left_open
from trader.journal.journal import Journal
from trader.journal.lock import Lock
from trader.journal.rows import Binding
from trader.live.bounded import bounded
from trader.live.control import Control, Flattener
from trader.live.cycle import Cycle, Terms
from trader.live.gate import Gate
from trader.live.leverage import Leverage
from trader.live.ports import Gateway
from trader.live.preflight import require_rights
from trader.live.protection import Protection, StopTerms
from trader.live.recovery import Recovery
from trader.live.router import Router
from trader.live.startup import Startup
from trader.live.timing import Timing
from trader.strategies.carry import CarryStrategy

ACCOUNT = "main"
_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything of one instance, wired; the journal's lock is held."""

    loaded: Loaded
    terms: Terms
    venue: Venue
    gateway: Gateway
    journal: Journal
    lock: Lock
    recovery: Recovery
    control: Control
    startup: Startup
    cycle: Cycle
    flattener: Flattener
    costs: Costs
    log: FilteringBoundLogger


@asynccontextmanager
async def assembled(
    settings: Settings, tape: TapeChoice, speed: float | None, *, closing: bool = False
) -> AsyncIterator[Assembly]:
    """Open and wire one instance, and release everything at the end; no model is too bad to close what is held.

    One that may not trade, and whose journal holds something, is let in to look after that: it only reduces.

    Raises:
        TraderError: the strategy, the model, the journal or the exchange is refused.
    """
    loaded = load_strategy(settings)
    if not closing:
        settings.require_time_enough()
        require_times(settings, loaded)
    unworthy = None if closing else _unworthy(settings, loaded)
    tape = replace(tape, symbol=only_symbol(loaded.strategy))
    if settings.venue == "sim":
        begun = (venues.folder(settings, tape, loaded.strategy.name) / places.JOURNAL).exists()
        tape = _checked(tape, loaded.strategy, new=not closing and not begun)
    home = venues.folder(settings, tape, loaded.strategy.name)
    async with AsyncExitStack() as stack:
        require_space(home)
        lock = stack.enter_context(Lock.acquire(home / places.JOURNAL, started=datetime.now(UTC)))
        if left_open(home / places.JOURNAL):
            structlog.get_logger("trader").warning(
                "the last run did not end in order", journal=str(home / places.JOURNAL)
            )
        venue = await open_venue(settings, tape, home, loaded.strategy.interval, speed, stack)
        binding = Binding(settings.venue, ACCOUNT, venue.tape, loaded.strategy.name, settings.dry_run)
        journal = Journal.open(home / places.JOURNAL, binding, create=True, at=venue.clock.now())
        stack.callback(journal.close)
        journal.under(lock)
        # refused, it would leave what is held without its limits, and without anybody who closes it
        if unworthy is not None and not journal.positions() and not journal.open_intents():
            raise unworthy
        _remember(journal, loaded)
        # a restart is no way around what the exchange told an earlier process about staying away
        venue.gateway.keep_cooldown(journal.cooldown(), journal.keep_cooldown)
        one = _wire(settings, loaded, venue, journal, lock)
        if unworthy is not None:
            one.control.withhold(*only_reduced(unworthy))
        yield one


def _checked(tape: TapeChoice, strategy: Strategy, *, new: bool) -> TapeChoice:
    """Read a tape before the exchange does, which refuses less than a backtest; a portfolio begins as a backtest does.

    What a new exchange is to play is looked at up to the tape's end: a later run goes on with it.

    Raises:
        ConfigError: a portfolio has no tape of many symbols.
        DataError: the tape cannot be played.
    """
    read = read_tape(tape, strategy.interval)
    if not isinstance(strategy, CarryStrategy):
        if read is not None and new:
            require_paid(*read, tape, None, strategy.interval)
        return tape
    if read is None:
        raise ConfigError("A portfolio is played on candles of many symbols; give a file with --tape.")
    return tape if tape.start is not None else replace(tape, start=first_close(read[0], strategy))


async def _require_rights(settings: Settings, venue: Venue) -> None:
    """Refuse a live key that could take money away; the demo exchange does not tell.

    It is asked when the exchange may be asked again, by whoever has waited for that.
    """
    if settings.venue != "live":
        return
    await venue.gateway.sync_clock()
    rights = await venue.gateway.key_rights()
    if rights is not None:
        require_rights(rights)


def _unworthy(settings: Settings, loaded: Loaded) -> TraderError | None:
    """Return why a model may open nothing, where its journal, once it is open, may show that something is held.

    Raises:
        ModelError, NotPermitted: as `permit`, where there is no journal.
    """
    try:
        permit(settings, loaded)
    except (ModelError, NotPermitted) as error:
        if not (venues.folder(settings, TapeChoice(None), loaded.strategy.name) / places.JOURNAL).exists():
            raise
        return error
    return None


def only_reduced(error: TraderError) -> tuple[str, str]:
    """Return why what is held is only reduced, and by whom that is found, for the state."""
    return f"{error} What is held is only reduced until then; afterwards `trader resume`.", "worth"


def permit(settings: Settings, loaded: Loaded) -> None:
    """Refuse an expired model on a real exchange, and live money without a GO.

    Raises:
        ModelError: the model has expired.
        NotPermitted: its verdict is not GO and nobody named it in spite of that.
    """
    worth = loaded.worth
    if settings.venue != "sim" and worth.expired(datetime.now(UTC)):
        raise ModelError(f"The model {worth.name} has expired; train it on newer candles, or name a newer one.")
    if settings.venue != "live" or settings.dry_run or worth.verdict == "GO":
        return
    if settings.overrule != worth.hash:
        what = "rule of" if loaded.model is None else "model"
        raise NotPermitted(
            f"The {what} {worth.name} has the verdict {worth.verdict} ({worth.reason}); live money needs a GO, or "
            f"TRADER_OVERRULE={worth.hash} from somebody who takes the responsibility."
        )


def only_symbol(strategy: Strategy) -> str | None:
    """Return the symbol a candle file holds that does not say so itself, None where a strategy trades many."""
    return strategy.symbols[0] if len(strategy.symbols) == 1 else None


def _say_what_it_is_worth(worth: Worth, log: FilteringBoundLogger) -> None:
    """Print verdict and expiry, which refuse on a real exchange and are only said on the embedded one."""
    expired = worth.expired(datetime.now(UTC))
    say = log.info if worth.verdict == "GO" and not expired else log.warning
    say("model", model=worth.name, verdict=worth.verdict, expired=expired, reason=worth.reason)


def _remember(journal: Journal, loaded: Loaded) -> None:
    """Keep in the journal what its decisions need to be replayed."""
    journal.save_model(loaded.worth.hash, loaded.card.decode(), loaded.weights)
    if loaded.model is None:
        journal.rejudge(loaded.worth.hash, loaded.worth.card)
    for key, value in (("interval", str(loaded.strategy.interval)), (strategy_key(loaded.hash), loaded.text)):
        if journal.get(key) != value:
            journal.put(key, value)


def enter_stage(settings: Settings, loaded: Loaded, journal: Journal, at: datetime) -> None:
    """Write a change of stage down, and say it."""
    notional = limits(settings, loaded).canary_notional
    if journal.enter_stage(settings.staged, notional, at):
        structlog.get_logger("trader").warning("stage", stage=settings.staged, notional=str(notional or "uncapped"))


def rewired(one: Assembly, settings: Settings, loaded: Loaded) -> Assembly:
    """Wire an instance anew under another configuration, on the same venue, journal and lock; write nothing down."""
    anew = _wire(settings, loaded, one.venue, one.journal, one.lock)
    # the process is the same: no name that it may give is anybody else's
    anew.recovery.router.began = one.recovery.router.began
    return anew


def take_over(one: Assembly, settings: Settings) -> None:
    """Write down what an instance that was wired anew decides under from now on."""
    _remember(one.journal, one.loaded)
    enter_stage(settings, one.loaded, one.journal, one.venue.clock.now())


def strategy_key(strategy_hash: str) -> str:
    """Return under which key a journal keeps a strategy file."""
    return f"strategy:{strategy_hash}"


def _log(settings: Settings, loaded: Loaded, venue: Venue) -> FilteringBoundLogger:
    """Return a log whose every line says what is traded where."""
    log: FilteringBoundLogger = structlog.get_logger("trader")
    log = log.bind(venue=settings.venue, strategy=loaded.strategy.name)
    if settings.dry_run:
        log = log.bind(dry_run=True)
    return log.bind(market="generated") if venue.generated else log


def _wire(settings: Settings, loaded: Loaded, venue: Venue, journal: Journal, lock: Lock) -> Assembly:
    log = _log(settings, loaded, venue)
    _say_what_it_is_worth(loaded.worth, log)
    strategy, clock = loaded.strategy, venue.clock
    gateway: Gateway = venue.gateway
    money = settings.sim
    costs = Costs(money.fee, money.slippage, money.spread)
    if settings.dry_run:
        gateway = PaperGateway(venue.gateway, clock, journal, equity=money.equity, costs=costs)
    gateway = bounded(gateway, settings.watchdog.step)
    terms = Terms(
        instance=f"{settings.venue}/{ACCOUNT}/{strategy.name}" + ("/dry-run" if settings.dry_run else ""),
        limits=limits(settings, loaded),
        max_delay=max_delay(settings, loaded),
        strategy=loaded.hash,
        model=loaded.worth.hash,
        policies=Policies(**settings.reconcile.model_dump()),
        max_outage=max_outage(settings, loaded),
    )
    control = Control(journal, clock, log)
    gate = Gate(gateway, journal, clock, control.state, wire_limits(settings, loaded))
    leverage = Leverage(gateway, journal, strategy.leverage, strategy.margin_mode)
    router = Router(
        gateway,
        journal,
        clock,
        Timing(settings.exchange.settle),
        gate,
        log,
        follow_rules(loaded),
        leverage.ensure,
        # one by one on an embedded exchange, so that the n-th request of a run is always the same
        _PARALLEL if isinstance(clock, WallClock) else 1,
    )
    protection = _protection(settings, terms, venue, gateway, journal, router, strategy.interval, log)
    permitted = partial(_require_rights, settings, venue)
    recovery = Recovery(gateway, journal, clock, router, protection, log, terms.policies, client_prefix(terms.instance))
    return Assembly(
        loaded=loaded,
        terms=terms,
        venue=venue,
        gateway=gateway,
        journal=journal,
        lock=lock,
        recovery=recovery,
        control=control,
        startup=Startup(strategy, gateway, journal, clock, recovery, log, costs, terms.limits, permitted),
        cycle=Cycle(strategy, gateway, journal, clock, recovery, leverage, terms, log),
        flattener=Flattener(
            terms.instance, strategy.interval, gateway, journal, clock, recovery, settings.watchdog.cycle, log
        ),
        costs=costs,
        log=log,
    )


def _protection(
    settings: Settings,
    terms: Terms,
    venue: Venue,
    gateway: Gateway,
    journal: Journal,
    router: Router,
    interval: Interval,
    log: FilteringBoundLogger,
) -> Protection:
    """Wire what keeps the stops; a dry run imagines none, and says so."""
    fraction = terms.limits.protective_stop
    if fraction is not None and settings.dry_run:
        log.warning("a dry run imagines no protective stop: nothing closes a position between two closes")
    elif fraction is not None:
        venue.gateway.list_conditional()
    stops = None if settings.dry_run else bounded(venue.gateway, settings.watchdog.step)
    return Protection(stops, gateway, journal, venue.clock, router, StopTerms(terms.instance, interval, fraction), log)
