"""Start-up is recovery: settle, set up, verify, explain; refuse anything unexplained and say the remedy."""

from collections.abc import Sequence
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.decide import Strategy
from trader.domain.account import Account, Setup
from trader.errors import ConfigError, Mismatch, NotPermitted
from trader.journal.journal import Journal
from trader.live.ports import Clock, Gateway
from trader.live.recovery import Recovery


class Startup:
    """Make an account ready to be traded, or say why it is not."""

    def __init__(
        self,
        strategy: Strategy,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        recovery: Recovery,
        log: FilteringBoundLogger,
    ) -> None:
        self._strategy = strategy
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._recovery = recovery
        self._log = log

    async def run(self, *, adopt: bool) -> None:
        """Check and set up everything the first close needs.

        Args:
            adopt: accept what is on the account as the baseline instead of refusing it.

        Raises:
            ConfigError: position mode, margin or equity do not allow this strategy.
            Mismatch: the account holds something the journal does not explain.
            NotPermitted: the keys may not trade.
        """
        await self._gateway.sync_clock()
        setups = [await self._gateway.setup(symbol) for symbol in self._strategy.symbols]
        for setup in setups:
            self._permit(setup)
        if self._journal.has_baseline():
            if not adopt:
                await self._recovery.require_wallet()
            await self._recovery.settle_open(give_up=adopt)
        await self._refuse_resting()
        account = await self._gateway.account()
        await self._set_up(setups, account)
        account = await self._explain(account, adopt)
        await self._afford(account)

    async def _set_up(self, setups: Sequence[Setup], account: Account) -> None:
        for setup in setups:
            symbol = setup.symbol
            held = account.quantity(symbol)
            wanted = (self._strategy.leverage, self._strategy.margin_mode)
            if held and wanted != (setup.leverage, setup.margin_mode):
                raise Mismatch(
                    f"{symbol} holds {held} at {setup.leverage}x {setup.margin_mode} margin where the strategy wants "
                    f"{wanted[0]}x {wanted[1]}; close the position or set the strategy to what the account has."
                )
            if setup.margin_mode != self._strategy.margin_mode:
                await self._gateway.set_margin_mode(symbol, self._strategy.margin_mode)
            if setup.leverage != self._strategy.leverage:
                await self._gateway.set_leverage(symbol, self._strategy.leverage)
            after = await self._gateway.setup(symbol)
            if (after.leverage, after.margin_mode) != wanted:
                raise ConfigError(
                    f"{symbol} stayed at {after.leverage}x {after.margin_mode} margin after it was set to {wanted[0]}x "
                    f"{wanted[1]}; set it by hand on the exchange, then start again."
                )

    def _permit(self, setup: Setup) -> None:
        if setup.hedge_mode:
            raise ConfigError(
                "The account is in hedge mode, in which one order can open a second position; switch it to one-way "
                "mode (Binance: Futures > Preferences > Position Mode) while no position is open, then start again."
            )
        if setup.multi_assets and self._strategy.margin_mode == "isolated":
            raise ConfigError(
                "The account is in multi-assets mode, which allows no isolated margin; switch it to single-asset mode "
                "(Binance: Futures > Preferences > Asset Mode), then start again."
            )
        if not setup.can_trade:
            raise NotPermitted("The API key may not trade futures; enable futures trading for it, then start again.")

    async def _refuse_resting(self) -> None:
        foreign = [order.client_id for order in await self._gateway.open_orders()]
        if foreign:
            raise Mismatch(
                f"The account has {len(foreign)} open orders that are not at their end ({', '.join(foreign[:3])}); "
                "cancel them on the exchange, then start again."
            )

    async def _explain(self, account: Account, adopt: bool) -> Account:
        """Return the account once it is what the journal says, or has become its baseline."""
        if not self._journal.has_baseline():
            held = {symbol: p.quantity for symbol, p in account.positions.items() if p.quantity}
            if held and not adopt:
                raise Mismatch(
                    f"This journal is new, but the account holds {_words(held)}; close it by hand, or accept it as the "
                    "baseline with `trader run --adopt`."
                )
            await self._adopt(account)
            return account
        if not adopt:
            return await self._recovery.reconcile()
        try:
            await self._recovery.require_wallet()
            return await self._recovery.reconcile()
        except Mismatch as mismatch:
            self._log.warning("adopting what is not explained", why=str(mismatch))
        account = await self._gateway.account()
        await self._adopt(account)
        return account

    async def _adopt(self, account: Account) -> None:
        """Take the account as it is for the start of the story."""
        held = {symbol: p.quantity for symbol, p in account.positions.items() if p.quantity}
        newest: dict[str, str] = {}
        for symbol in {*self._strategy.symbols, *held}:
            fills = await self._gateway.fills(symbol)
            if fills:
                newest[symbol] = fills[-1].trade_id
        self._journal.set_baseline(
            wallet=account.wallet, equity=account.equity, positions=held, last_trades=newest, at=account.time
        )
        self._log.info("baseline", equity=str(account.equity), holds=_words(held) or "nothing")

    async def _afford(self, account: Account) -> None:
        """Refuse an account on which the strategy's orders would be too small to be sent."""
        prices = await self._gateway.prices(self._strategy.symbols)
        instruments = await self._gateway.instruments(self._strategy.symbols)
        share = Decimal(repr(self._strategy.exposure)) / len(self._strategy.symbols)
        for symbol in self._strategy.symbols:
            rules = instruments[symbol]
            least = max(rules.min_notional, rules.min_quantity * prices[symbol])
            if account.equity * share < least and not account.quantity(symbol):
                raise ConfigError(
                    f"An equity of {account.equity:.2f} USDT at an exposure of {share} gives orders of "
                    f"{account.equity * share:.2f} USDT, below the {least:.2f} {symbol} needs at least; hold at "
                    f"least {least / share:.2f} USDT or raise the exposure."
                )


def _words(held: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {quantity:+f}" for symbol, quantity in held.items())
