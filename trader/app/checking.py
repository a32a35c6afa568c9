"""`trader check`: everything that has to hold before the first close, each item with its remedy; nothing is changed."""

from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trader.app import alerting, current, disk, places, tapes, venues
from trader.app.assembly import only_symbol, permit
from trader.app.checking_account import AccountChecks
from trader.app.findings import Findings
from trader.app.strategies import Loaded, limits, load_strategy, require_times, wire_limits
from trader.app.tapes import TapeChoice
from trader.app.venues import Venue, open_venue
from trader.config import Settings
from trader.errors import JournalError, NotPermitted, TraderError
from trader.exchange.reach import addresses_of, certificate_of, host_of
from trader.execution.fills import Costs
from trader.journal import schema
from trader.journal.database import Database
from trader.journal.lock import holder
from trader.journal.queries import Reader
from trader.live.preflight import require_rights

_SOON = timedelta(days=30)
_A_WHILE = timedelta(days=14)


async def check(settings: Settings) -> dict[str, Any]:
    """Check settings, model, journal, disk, network, clock, key, account, sizes and limits.

    On the embedded exchange where nothing has run yet, a fresh one is asked that is thrown away afterwards.
    """
    findings = Findings()
    with TemporaryDirectory(prefix="trader-check-") as scratch:
        fresh = settings.venue == "sim" and current.recall(settings.data_dir) is None
        named = settings.strategy if "strategy" in settings.model_fields_set else None
        settings, tape = tapes.again(settings)
        if named is not None:
            settings = settings.model_copy(update={"strategy": named})
        loaded = _loaded(settings, findings)
        _stage(settings, loaded, findings)
        _alerts(settings, findings)
        if loaded is None:
            return findings.document()
        _model(settings, loaded, findings)
        tape = replace(tape, symbol=only_symbol(loaded.strategy))
        home = venues.folder(settings, tape, loaded.strategy.name)
        _disk(home, findings)
        _journal(home, findings)
        with findings.checking("exchange"):
            # the scratch directory keeps a look from leaving an exchange behind
            where = settings.model_copy(update={"data_dir": Path(scratch)}) if fresh else settings
            place = venues.folder(where, tape, loaded.strategy.name) if fresh else home
            await _on_exchange(where, tape, place, loaded, findings)
    return findings.document()


def _loaded(settings: Settings, findings: Findings) -> Loaded | None:
    try:
        loaded = load_strategy(settings)
        settings.require_time_enough()
        require_times(settings, loaded)
    except TraderError as error:
        findings.refused("strategy", error)
        return None
    findings.passed("strategy", _strategy(loaded))
    return loaded


def _strategy(loaded: Loaded) -> str:
    strategy = loaded.strategy
    symbols = ", ".join(strategy.symbols) or "all that are listed"
    return (
        f"{strategy.name}: {symbols} every {strategy.interval}, exposure {strategy.exposure:g} at "
        f"{strategy.leverage}x {strategy.margin_mode}"
    )


def _stage(settings: Settings, loaded: Loaded | None, findings: Findings) -> None:
    said = f"{settings.venue}, {settings.staged}"
    if settings.staged == "canary" and loaded is not None:
        said += f", sizes cut to {limits(settings, loaded).canary_notional} USDT"
    if settings.venue == "live" and settings.staged == "full":
        findings.warned("stage", said, "after a model or a machine is new, begin with TRADER_STAGE=shadow, then canary")
        return
    findings.passed("stage", said)


def _alerts(settings: Settings, findings: Findings) -> None:
    with findings.checking("alerts"):
        if settings.alerts.urls or settings.alerts.ping:
            findings.passed("alerts", alerting.look_at_addresses(settings))
        elif settings.venue == "sim":
            findings.skipped("alerts", "nobody is to be told; the embedded exchange has no money to lose")
        else:
            remedy = "set TRADER_ALERTS__URLS, TRADER_ALERTS__PING or both"
            findings.warned("alerts", "nobody is told when something is wrong", remedy)


def _model(settings: Settings, loaded: Loaded, findings: Findings) -> None:
    worth = loaded.worth
    with findings.checking("model"):
        permit(settings, loaded)
        left = timedelta.max if worth.expires is None else worth.expires - datetime.now(UTC)
        said = f"{worth.name}, {worth.verdict}, hash {worth.hash[:12]}"
        if left < timedelta(0):
            findings.warned("model", f"{said}, expired", "train it on newer candles; a real exchange refuses it")
        elif left < _SOON:
            findings.warned("model", f"{said}, expires in {left.days} days", "train it on newer candles before that")
        elif worth.verdict != "GO":
            findings.warned("model", f"{said}: {worth.reason}", "give it no money that has to last")
        else:
            good = "" if worth.expires is None else f", good until {worth.expires:%Y-%m-%d}"
            findings.passed("model", f"{said}{good}")


def _disk(home: Path, findings: Findings) -> None:
    with findings.checking("disk"):
        space = disk.require_space(home)
        said = (
            f"{disk.megabytes(space.free)} free at {space.folder}, written and synced in {space.seconds * 1e3:.0f} ms"
        )
        if space.free < disk.COMFORTABLE:
            findings.warned("disk", said, "free some space: what cannot be written down is not traded")
        else:
            findings.passed("disk", said)


def _journal(home: Path, findings: Findings) -> None:
    path = home / places.JOURNAL
    if not path.exists():
        findings.passed("journal", f"none yet; the first start makes one at {path}")
        return
    with findings.checking("journal"):
        with closing(Database(path, writable=False)) as database:
            database.check(schema.VITAL)
        with Reader.read(path) as journal:
            state, left, daemon = journal.state(), len(journal.open_intents()), holder(path)
            said = f"{path}, whole, schema {schema.HEAD}, {state.state.value}"
            said += f", a daemon runs (pid {daemon.pid})" if daemon else ", no daemon runs"
            if state.state.value != "ACTIVE":
                findings.warned("journal", f"{said}: {state.why}", "put right what it names, then `trader resume`")
            elif left and not daemon:
                findings.warned(
                    "journal", f"{said}, {left} orders without a certain end", "the next start settles them"
                )
            else:
                findings.passed("journal", said)


async def _on_exchange(settings: Settings, tape: TapeChoice, home: Path, loaded: Loaded, findings: Findings) -> None:
    async with AsyncExitStack() as stack:
        running = venues.runs(home)
        venue = await open_venue(settings, tape, home, loaded.strategy.interval, None, stack, running=running)
        with suppress(JournalError), Reader.read(home / places.JOURNAL) as journal:
            # a look is no way around what the exchange told the daemon about staying away
            venue.gateway.keep_cooldown(journal.cooldown(), lambda until: None)
        if not await _reachable(settings, venue, findings):
            return
        with venue.clock.working():
            if await _clock(settings, loaded, venue, findings):
                await _rights(settings, venue, findings)
                money = settings.sim
                costs = Costs(money.fee, money.slippage, money.spread)
                await AccountChecks(settings, loaded, venue, home / places.JOURNAL, costs, findings).run()


async def _reachable(settings: Settings, venue: Venue, findings: Findings) -> bool:
    """Look at name and certificate of the host; False where nothing further can be asked."""
    host, before = host_of(settings.venue), len(findings.items)
    if venue.loopback is None:
        with findings.checking("dns"):
            findings.passed("dns", f"{host} is {', '.join(await addresses_of(host))}")
    else:
        findings.skipped("dns", f"every name is 127.0.0.1:{venue.loopback.port}, the embedded exchange")
    with findings.checking("tls"):
        shown = await certificate_of(host, venue.loopback, settings.exchange.timeout)
        left = shown.expires - datetime.now(UTC)
        said = f"{host} shows a certificate of {shown.issuer} until {shown.expires:%Y-%m-%d}, in {shown.seconds:.2f} s"
        if left < _A_WHILE and venue.loopback is None:
            findings.warned("tls", said, "the exchange renews it; look again if it does not")
        else:
            findings.passed("tls", said)
    return not any(item.verdict == "failed" for item in findings.items[before:])


async def _clock(settings: Settings, loaded: Loaded, venue: Venue, findings: Findings) -> bool:
    """Measure the clock; False where the exchange did not tell the time, so that nothing signed can be asked."""
    try:
        offset = -await venue.gateway.sync_clock()
    except TraderError as error:
        findings.refused("clock", error)
        return False
    most = wire_limits(settings, loaded).max_clock_offset
    precision = venue.clock.error.total_seconds()
    said = f"{offset.total_seconds():+.3f} s from the exchange's, measured to {precision:.3f} s"
    if most is not None and abs(offset) > most:
        late = f"{said}; no opening order leaves over {most.total_seconds():g} s"
        findings.warned("clock", late, "keep it right with chrony or systemd-timesyncd")
    else:
        findings.passed("clock", said)
    return True


async def _rights(settings: Settings, venue: Venue, findings: Findings) -> None:
    if not venue.gateway.keyed:
        findings.skipped("key", "there is no key; a dry run on public data needs none")
        return
    with findings.checking("key"):
        rights = await venue.gateway.key_rights()
        if rights is None:
            findings.skipped("key", "the demo exchange does not tell what a key may do; its money is not real")
            return
        try:
            require_rights(rights)
        except NotPermitted as refused:
            if settings.venue == "live" or not (rights.read and rights.trade_futures):
                raise
            found, _, remedy = str(refused).rpartition("; ")
            findings.warned("key", f"{found}; live refuses it", remedy)
            return
        if rights.bound_to_address:
            findings.passed("key", "reads and trades futures, nothing else, from bound addresses only")
        else:
            findings.warned("key", "reads and trades futures, nothing else", "bind it to this machine's address")
