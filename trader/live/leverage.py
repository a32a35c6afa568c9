"""The leverage that is set on the exchange: chosen under the brackets, read back before anything is opened with it."""

from collections.abc import Mapping
from decimal import Decimal

from trader.domain.account import MarginMode
from trader.domain.decision import Decision
from trader.domain.instrument import Instrument
from trader.errors import ExchangeError
from trader.execution.plan import chosen_leverages
from trader.journal.journal import Journal
from trader.journal.queries import Reader
from trader.live.ports import Gateway

_SET, _WANTED = "leverage:{}", "leverage-wanted:{}"


def expected_leverage(journal: Reader, symbol: str, wished: int) -> int:
    """Return what a symbol was set to last before it was opened, the strategy's wish where nothing else was."""
    return int(journal.get(_SET.format(symbol)) or wished)


class Leverage:
    """Set each symbol's leverage while it is flat; what is changed under a position is the audit's business.

    Args:
        gateway: the account.
        journal: keeps what was chosen and what was set, so that a restart goes on with it.
        wished: the strategy's leverage; a bracket may allow less.
        margin_mode: the strategy's margin mode, None where the start has seen to it.
    """

    def __init__(self, gateway: Gateway, journal: Journal, wished: int, margin_mode: MarginMode | None = None) -> None:
        self._margin_mode = margin_mode
        self._gateway = gateway
        self._journal = journal
        self._wished = wished

    def choose(self, decision: Decision, prices: Mapping[str, Decimal], instruments: Mapping[str, Instrument]) -> None:
        """Keep what each symbol that is opened from flat is to be opened with; nothing is set yet."""
        for symbol, leverage in chosen_leverages(decision, prices, instruments, self._wished).items():
            self._keep(_WANTED, symbol, leverage)

    async def ensure(self, symbol: str) -> None:
        """Set what was chosen where the symbol is flat, and read it back.

        Raises:
            ExchangeError: it could not be set, or does not stay set.
        """
        if self._journal.position(symbol):
            return
        wanted = int(self._journal.get(_WANTED.format(symbol)) or self._wished)
        setup = await self._gateway.setup(symbol)
        mode = self._margin_mode or setup.margin_mode
        if (setup.leverage, setup.margin_mode) != (wanted, mode):
            if setup.margin_mode != mode:
                await self._gateway.set_margin_mode(symbol, mode)
            if setup.leverage != wanted:
                await self._gateway.set_leverage(symbol, wanted)
            setup = await self._gateway.setup(symbol)
            if (setup.leverage, setup.margin_mode) != (wanted, mode):
                raise ExchangeError(
                    f"{symbol} stayed at {setup.leverage}x {setup.margin_mode} margin after it was set to {wanted}x "
                    f"{mode}; nothing is opened with it, set it by hand on the exchange."
                )
        self._keep(_SET, symbol, wanted)

    def _keep(self, key: str, symbol: str, leverage: int) -> None:
        if leverage != int(self._journal.get(key.format(symbol)) or self._wished):
            self._journal.put(key.format(symbol), str(leverage))
