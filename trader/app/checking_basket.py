"""The part of `trader check` that looks at a portfolio: its sizes, and what the close that is due would come to."""

from collections.abc import Mapping
from decimal import Decimal

from trader.app.findings import Findings
from trader.decide import Strategy, decide
from trader.domain.account import Account
from trader.domain.decision import Book, Limits, State
from trader.domain.instrument import Instrument
from trader.errors import Mismatch
from trader.execution.fills import Costs
from trader.execution.reconcile import misconfigured
from trader.journal.queries import Reader
from trader.live.leverage import expected_leverage
from trader.live.market import Lookout
from trader.live.ports import Clock, Gateway
from trader.live.preflight import (
    FEES_REMEDY,
    FEES_UNTOLD,
    require_fees_in_usdt,
    require_most,
    require_setup,
    sizes_of,
)
from trader.live.record import last_forecasts

_SHOWN = 5


class BasketChecks:
    """Look at an account with a portfolio in mind.

    Args:
        strategy: has a universe of its own at each close.
        limits: what guards allow.
        costs: what trading is expected to cost.
        findings: is added to.
    """

    def __init__(self, strategy: Strategy, limits: Limits, costs: Costs, findings: Findings) -> None:
        self._strategy = strategy
        self._limits = limits
        self._costs = costs
        self._findings = findings

    async def modes(self, gateway: Gateway, account: Account, journal: Reader | None) -> None:
        """Check modes, and leverage and margin mode of what is held; those of the rest are set before it is opened."""
        held = sorted(symbol for symbol, one in account.positions.items() if one.quantity)
        asked = held or sorted((await gateway.listed())[0])[:1]
        strategy = self._strategy
        await check_fees(gateway, self._findings)
        for setup in await gateway.setups_of(asked):
            require_setup(setup)
            if not account.quantity(setup.symbol):
                continue
            leverage = strategy.leverage
            if journal is not None:
                leverage = expected_leverage(journal, setup.symbol, leverage)
            for finding in misconfigured(setup, leverage, strategy.margin_mode):
                raise Mismatch(f"{finding.text} while it is held; set it back, or close the position.")
        said = f"{len(held)} symbols as the strategy wants them" if held else "nothing is held"
        self._findings.passed("modes", f"one-way mode; {said}, at {strategy.leverage}x {strategy.margin_mode} or less")

    def sizes(self, account: Account, rules: Mapping[str, Instrument], prices: Mapping[str, Decimal]) -> None:
        """Check that orders of an even share are large enough for most symbols."""
        sizes = sizes_of(self._strategy, account.equity, prices, self._limits.canary_notional)
        with self._findings.checking("size", instead_of_refusing(account)):
            small = require_most(sizes, rules)
            said = f"{sizes[0].notional:.2f} USDT a symbol at the gross limit, shared alike"
            if small:
                names = ", ".join(small[:_SHOWN]) + (" and others" if len(small) > _SHOWN else "")
                self._findings.warned(
                    "size",
                    f"{said}, too little for {len(small)} of {len(sizes)} ({names})",
                    "more equity holds them too",
                )
            else:
                self._findings.passed("size", f"{said}, enough for all {len(sizes)}")

    async def next_close(self, gateway: Gateway, clock: Clock, account: Account) -> None:
        """Decide the last close as it would be decided now: what guards refuse, what is left out, and what it costs."""
        strategy, close = self._strategy, self._strategy.interval.floor(clock.now())
        with self._findings.checking("guards"):
            lookout = Lookout(strategy, gateway, clock)
            market = await lookout.look(close)
            forecasts = last_forecasts(strategy.forecast(market.candles), close)
            market, prices = await lookout.quoted(market, account, forecasts)
            held = {symbol: one.quantity for symbol, one in account.positions.items()}
            profit = {symbol: one.unrealised for symbol, one in account.positions.items()}
            rates = {} if self._limits.max_funding is None else await gateway.funding_rates(sorted(prices))
            book = Book(
                account.equity,
                account.equity,
                held,
                prices,
                market.rules,
                State.ACTIVE,
                funding_rates=rates,
                unknown=market.unknown,
                unrealised=profit,
            )
            decision = decide(strategy, close, forecasts, book, self._limits)
            refused = sorted({f"{one.guard}: {one.reason}" for one in decision.refusals})
            if refused:
                self._findings.warned("guards", f"{len(refused)} refusals, such as {refused[0]}", "see TRADER_RISK__*")
            else:
                self._findings.passed("guards", "would let every order of this close pass")
            traded = sum((abs(leg.quantity) * prices[leg.symbol] for leg in decision.legs), Decimal(0))
            cost = traded * (self._costs.fee + self._costs.spread / 2 + self._costs.slippage)
            unknown = f", without {', '.join(sorted(market.unknown)[:_SHOWN])}" if market.unknown else ""
            self._findings.passed(
                "next close",
                f"decided now it would trade {traded:.2f} USDT in {len(decision.legs)} orders for {cost:.2f} USDT, out "
                f"of a universe of {len(forecasts)}{unknown}",
            )


def instead_of_refusing(account: Account) -> str:
    """Say what a start does where sizes do not fit the account: nothing is left to itself that is held."""
    held = any(one.quantity for one in account.positions.values())
    return "as something is held, the start is not refused and only reduces" if held else ""


async def check_fees(gateway: Gateway, findings: Findings) -> None:
    """Refuse fees that are paid in BNB, and warn where the venue does not tell."""
    require_fees_in_usdt(burns := await gateway.burns_fees())
    if burns is None:
        findings.warned("fees", FEES_UNTOLD, FEES_REMEDY)
