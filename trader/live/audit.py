"""Look at the account's set-up and at what rests on it, before anything is decided on it."""

from collections.abc import Awaitable, Callable, Sequence

from structlog.typing import FilteringBoundLogger

from trader.decide import Strategy
from trader.domain.account import Account
from trader.domain.order import Order, client_prefix
from trader.errors import Mismatch
from trader.execution.reconcile import Author, Finding, Kind, Policies, misconfigured, resting
from trader.journal.queries import Reader
from trader.live.leverage import expected_leverage
from trader.live.ports import Gateway

_REMEDIES = {
    Kind.POSITION_MODE: "switch it back to one-way mode (Binance: Futures > Preferences > Position Mode)",
    Kind.ASSETS_MODE: "switch it back to single-asset mode (Binance: Futures > Preferences > Asset Mode)",
    Kind.LEVERAGE: "set it back, or close the position",
    Kind.MARGIN_MODE: "close the position, so that it can be set back",
    Kind.ORDER: "cancel it on the exchange",
}


class Audit:
    """Find what somebody changed by hand since the start.

    Leverage and margin mode are set back while nothing is held. Under a position, and where an order of somebody else
    rests, the policy decides; hedge mode, multi-assets mode and another trader with the same keys always halt.
    `at_rest` tells what rests but the stops of ours.
    """

    def __init__(
        self,
        strategy: Strategy,
        gateway: Gateway,
        journal: Reader,
        instance: str,
        policies: Policies,
        log: FilteringBoundLogger,
        at_rest: Callable[[], Awaitable[Sequence[Order]]],
    ) -> None:
        self._at_rest = at_rest
        self._strategy = strategy
        self._gateway = gateway
        self._journal = journal
        self._prefix = client_prefix(instance)
        self._policies = policies
        self._log = log

    async def run(self, account: Account) -> None:
        """Check the set-up of every symbol, or of all that are held where a strategy names none, and orders at rest.

        Raises:
            Mismatch: somebody changed what cannot be traded on; nothing is to be opened then.
        """
        held = sorted(symbol for symbol, one in account.positions.items() if one.quantity)
        symbols = self._strategy.symbols or tuple(held)
        for setup in await self._gateway.setups_of(symbols) if symbols else ():
            leverage = expected_leverage(self._journal, setup.symbol, self._strategy.leverage)
            for finding in misconfigured(setup, leverage, self._strategy.margin_mode):
                await self._answer(setup.symbol, finding, held=bool(account.quantity(setup.symbol)))
        orders = await self._at_rest()
        for finding in resting(orders, self._prefix, lambda name: self._journal.order(name) is not None):
            self._judge(finding)

    async def _answer(self, symbol: str, finding: Finding, *, held: bool) -> None:
        if held or finding.kind not in (Kind.LEVERAGE, Kind.MARGIN_MODE):
            self._judge(finding)
            return
        self._log.warning("set back what somebody changed", what=finding.text)
        if finding.kind is Kind.LEVERAGE:
            leverage = expected_leverage(self._journal, symbol, self._strategy.leverage)
            await self._gateway.set_leverage(symbol, leverage)
        else:
            await self._gateway.set_margin_mode(symbol, self._strategy.margin_mode)

    def _judge(self, finding: Finding) -> None:
        if self._policies.adopts(finding.kind) and finding.author is not Author.TWIN:
            self._log.warning("taken as it is", what=finding.text, kind=finding.kind.value)
            return
        text = finding.text[0].upper() + finding.text[1:]
        raise Mismatch(f"{text}: somebody changed the account; {_REMEDIES[finding.kind]}, then `trader resume`.")
