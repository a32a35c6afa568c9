"""Start-up is recovery: settle, set up, verify, explain; refuse anything unexplained and say the remedy."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.decide import Strategy
from trader.domain.account import Account, Setup
from trader.domain.decision import Limits, Margin, State
from trader.domain.instrument import Instrument
from trader.errors import ConfigError, ExchangeError, JournalBusy, Mismatch, Rejected
from trader.execution.fills import Costs
from trader.journal.journal import Journal
from trader.live.control import Control
from trader.live.leverage import expected_leverage
from trader.live.ports import Clock, Gateway
from trader.live.preflight import (
    FEES_REMEDY,
    FEES_UNTOLD,
    NO_COSTS,
    Size,
    require_bracket,
    require_fees_in_usdt,
    require_flat,
    require_least,
    require_margin,
    require_most,
    require_no_resting,
    require_setup,
    require_stop,
    require_traded,
    sizes_of,
    words,
)
from trader.live.recovery import START_LOOKS, Recovery


async def _anything() -> None:
    """Refuse nothing."""


class Startup:
    """Make an account ready to be traded, or say why it is not.

    Args:
        strategy: what is to be traded.
        gateway: the account.
        journal: the story so far.
        clock: the venue's.
        recovery: settles and explains what is found.
        log: says what was done.
        costs: what trading is expected to cost, for which margin has to be left.
        limits: what guards allow; None for nothing that has to be checked.
        permitted: refuses keys that may do too much or too little.
    """

    def __init__(
        self,
        strategy: Strategy,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        recovery: Recovery,
        log: FilteringBoundLogger,
        costs: Costs = NO_COSTS,
        limits: Limits | None = None,
        permitted: Callable[[], Awaitable[None]] = _anything,
    ) -> None:
        self._permitted = permitted
        self._costs = costs
        self._cap = None if limits is None else limits.canary_notional
        self._stop = None if limits is None else limits.protective_stop
        self._strategy = strategy
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._recovery = recovery
        self._control = Control(journal, clock, log)
        self._log = log

    async def run(self, *, adopt: bool) -> None:
        """Check and set up everything the first close needs.

        Args:
            adopt: accept what is on the account as the baseline instead of refusing it.

        Raises:
            ConfigError: position mode, margin or equity do not allow this strategy; where something is held, margin and
                equity only let the daemon reduce.
            Mismatch: the account holds something the journal does not explain, or the strategy does not trade any more.
            NotPermitted: the keys may not trade.
        """
        await self._permitted()
        await self._gateway.sync_clock()
        self._recovery.router.begin()
        setups = await self._setups()
        for setup in setups:
            require_setup(setup)
        require_fees_in_usdt(burns := await self._gateway.burns_fees())
        if burns is None:
            self._log.warning("fees not told", why=FEES_UNTOLD, remedy=FEES_REMEDY)
        if self._journal.has_baseline():
            beside = require_traded(self._journal, self._strategy.symbols)
            if beside:
                self._log.warning("held beside the strategy", holds=words(beside))
            if not adopt:
                await self._recovery.require_wallet(looks=START_LOOKS)
            await self._settle(adopt)
        require_no_resting(await self._recovery.at_rest(adopt=adopt))
        account = await self._gateway.account()
        await self._set_up(setups, account)
        account = await self._recovery.protect(await self._explain(account, adopt))
        await self._afford(account)

    async def _settle(self, adopt: bool) -> None:
        """Settle what is open; where one symbol keeps a start waiting, the others have their stops meanwhile."""
        try:
            await self._recovery.settle_open(give_up=adopt)
        except ExchangeError:
            busy = {order.intent.symbol for order in self._journal.open_intents()}
            try:
                resting = await self._recovery.resting()
                # an order of somebody else ends the start
                if all(self._recovery.knows(order) for order in resting):
                    await self._recovery.protect_others(busy, tell=True, resting=resting)
            except (Mismatch, ExchangeError, JournalBusy) as error:
                self._log.warning("stops not looked at", error=str(error), kind=type(error).__name__)
            raise

    async def before_flatten(self) -> None:
        """Check what has to hold before everything is closed: the right account, in a mode in which one order closes.

        Neither what the account holds, nor what rests on it, nor what the strategy would need is in the way.

        Raises:
            ConfigError: hedge mode.
            Mismatch: this is another account, or the journal is new and the account holds something.
            NotPermitted: the keys may not trade.
        """
        await self._gateway.sync_clock()
        self._recovery.router.begin()
        for setup in await self._setups():
            require_setup(setup, closing=True)
        if self._journal.has_baseline():
            await self._recovery.require_wallet()
        else:
            await self._explain(await self._gateway.account(), adopt=False)

    async def _setups(self) -> list[Setup]:
        """Ask for the set-up of the strategy's symbols; where it names none, of what is held, else of any one.

        The account's modes are the same for all of them; leverage and margin mode of a symbol that is flat are seen to
        before it is opened.
        """
        symbols = self._strategy.symbols or tuple(sorted((await self._gateway.account()).positions))
        if not symbols:
            symbols = tuple(sorted((await self._gateway.listed())[0]))[:1]
        return await self._gateway.setups_of(symbols)

    async def _set_up(self, setups: Sequence[Setup], account: Account) -> None:
        for setup in setups:
            symbol = setup.symbol
            held = account.quantity(symbol)
            # an account may lag behind the order that was just found filled: what it does not show yet is left as it is
            if not held and (symbol not in self._strategy.symbols or self._journal.position(symbol)):
                continue
            leverage = expected_leverage(self._journal, symbol, self._strategy.leverage) if held else None
            wanted = (leverage or self._strategy.leverage, self._strategy.margin_mode)
            if held and wanted != (setup.leverage, setup.margin_mode):
                raise Mismatch(
                    f"{symbol} holds {held} at {setup.leverage}x {setup.margin_mode} margin where the strategy wants "
                    f"{wanted[0]}x {wanted[1]}; close the position or set the strategy to what the account has."
                )
            if setup.margin_mode != self._strategy.margin_mode:
                await self._gateway.set_margin_mode(symbol, self._strategy.margin_mode)
            if setup.leverage != wanted[0]:
                await self._gateway.set_leverage(symbol, wanted[0])
            after = await self._gateway.setup(symbol)
            if (after.leverage, after.margin_mode) != wanted:
                raise ConfigError(
                    f"{symbol} stayed at {after.leverage}x {after.margin_mode} margin after it was set to {wanted[0]}x "
                    f"{wanted[1]}; set it by hand on the exchange, then start again."
                )

    async def _explain(self, account: Account, adopt: bool) -> Account:
        """Return the account once it is what the journal says, or has become its baseline."""
        if not self._journal.has_baseline():
            if not adopt:
                require_flat(account)
            account, newest = await self._undisturbed(account)
            if not adopt:
                require_flat(account)
            return self._take(account, newest)
        if not adopt:
            return await self._recovery.reconcile(looks=START_LOOKS)
        try:
            await self._recovery.require_wallet()
            return await self._recovery.reconcile()
        except Mismatch as mismatch:
            self._log.warning("adopting what is not explained", why=str(mismatch))
        return self._take(*await self._undisturbed(account))

    async def _undisturbed(self, account: Account) -> tuple[Account, dict[str, str]]:
        """Return the account and its newest trades, of a look during which nobody traded and no stop was triggered.

        What a stop of ours did before it is written down: once the account is the baseline nothing tells of it.

        Raises:
            ExchangeError: there is no such look, or a stop cannot be looked at.
        """
        newest = await self._newest(account, {})
        for _ in range(START_LOOKS):
            before, held = newest, _quantities(account)
            await self._recovery.take_fired(every=True)
            account = await self._gateway.account()
            newest = await self._newest(account, before)
            if newest == before and _quantities(account) == held:
                return account, newest
        raise ExchangeError("Somebody trades on the account at every look; stop whoever it is, then start again.")

    async def _newest(self, account: Account, known: Mapping[str, str]) -> dict[str, str]:
        """Return the newest trade of each symbol that was ever traded, was held, or was by what the look before told.

        What closed a position that the account does not show any more is one of them. The first look asks from the
        beginning: on an account that was reset, numbers begin anew.
        """
        told, kept = dict(known), self._journal.held()
        wanted = {*self._strategy.symbols, *account.positions}
        for symbol in sorted({*wanted, *kept, *known}):
            try:
                fills = await self._gateway.fills(symbol, since=known.get(symbol))
            except Rejected as error:
                if symbol in wanted:
                    raise
                # it is listed no more, and nobody trades it any more either
                self._log.warning("trades not told", symbol=symbol, error=str(error))
                fills, last = [], kept[symbol].last_trade if symbol in kept else None
                told |= {} if last is None else {symbol: last}
            if fills:
                told[symbol] = fills[-1].trade_id
        return told

    def _take(self, account: Account, newest: Mapping[str, str]) -> Account:
        """Take the account as it is for the start of the story."""
        held = _quantities(account)
        self._journal.set_baseline(
            wallet=account.wallet, equity=account.equity, positions=held, last_trades=newest, at=account.time
        )
        self._log.info("baseline", equity=str(account.equity), holds=words(held) or "nothing")
        return account

    async def _afford(self, account: Account) -> None:
        """Refuse an account on which the strategy's orders would be too small, or larger than its margin.

        One that holds something is not left to itself for that: it may only reduce until a person has put it right.
        """
        strategy = self._strategy
        if strategy.symbols:
            symbols, prices = strategy.symbols, await self._prices(strategy.symbols)
            rules = await self._gateway.instruments(symbols)
        else:
            listed, _ = await self._gateway.listed()
            rules = {symbol: one for symbol, one in listed.items() if one.trading}
            symbols = strategy.universe(rules)
            prices = await self._prices(symbols)
        sizes = sizes_of(strategy, account.equity, prices, self._cap, len(symbols))
        try:
            if strategy.symbols:
                self._require_sizes(sizes, account, rules)
            elif small := require_most(sizes, rules):
                self._log.info("too small for an even share", symbols=", ".join(small))
        except ConfigError as error:
            if not any(one.quantity for one in account.positions.values()):
                raise
            why = f"{error} Until then what is held is only made smaller; put it right, then `trader resume`."
            self._control.restrict(State.REDUCING, why, "start-up")

    def _require_sizes(self, sizes: Sequence[Size], account: Account, rules: Mapping[str, Instrument]) -> None:
        for size in sizes:
            one = rules[size.symbol]
            if not account.quantity(size.symbol):
                require_least(size, one)
            leverage = one.leverage(size.notional, self._strategy.leverage)
            require_bracket(size, one, leverage)
            require_margin(size, account.equity, leverage, self._costs)
            if self._stop is not None:
                margin = Margin(leverage, self._strategy.margin_mode == "isolated")
                require_stop(size, one, account.equity, margin, self._stop)

    async def _prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return mark prices, and say of which there are none: what is not told keeps no other from being traded."""
        prices = await self._gateway.prices(symbols)
        if untold := [symbol for symbol in symbols if symbol not in prices]:
            self._log.warning("mark prices not told", symbols=", ".join(untold))
        return prices


def _quantities(account: Account) -> dict[str, Decimal]:
    """Return what is held, signed, by symbol."""
    return {symbol: one.quantity for symbol, one in account.positions.items() if one.quantity}
