"""The part of `trader check` that looks at the account: modes, holdings, sizes, margin, guards, and the next bill."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from trader.app.checking_basket import BasketChecks, check_fees, instead_of_refusing
from trader.app.findings import Findings
from trader.app.operating import compare, unknown
from trader.app.strategies import Loaded, limits
from trader.app.venues import Venue
from trader.config import Settings
from trader.decide import cut_to_canary
from trader.domain.account import Account, Setup
from trader.domain.decision import Book, Margin, State
from trader.domain.instrument import Instrument
from trader.domain.wording import money
from trader.errors import Mismatch
from trader.exchange.paper import PaperGateway
from trader.execution import guards
from trader.execution.fills import Costs
from trader.execution.plan import Plan, plan
from trader.journal.queries import PAPER, Reader
from trader.live.ports import Gateway
from trader.live.preflight import (
    Size,
    require_bracket,
    require_flat,
    require_least,
    require_margin,
    require_no_resting,
    require_setup,
    require_stop,
    require_traded,
    sizes_of,
)

_TIGHT = Decimal("0.01")


class Scratch:
    """A shelf that forgets: what an imagined account becomes during a look is not kept."""

    def __init__(self, kept: str | None) -> None:
        self._kept = kept

    def load_paper(self) -> str | None:
        """Return what the journal kept."""
        return self._kept

    def save_paper(self, snapshot: str) -> None:
        """Keep it for this look alone."""
        self._kept = snapshot


class AccountChecks:
    """Look at one account with one strategy in mind.

    Args:
        settings: venue, stage and limits.
        loaded: the strategy.
        venue: the open exchange.
        journal: where the instance's journal lies, which need not exist yet.
        costs: what trading is expected to cost.
        findings: is added to.
    """

    def __init__(
        self, settings: Settings, loaded: Loaded, venue: Venue, journal: Path, costs: Costs, findings: Findings
    ) -> None:
        self._settings = settings
        self._strategy = loaded.strategy
        self._limits = limits(settings, loaded)
        self._venue = venue
        self._journal = journal
        self._costs = costs
        self._findings = findings

    async def run(self) -> None:
        """Check everything; what cannot be asked because an earlier item failed is left out."""
        findings = self._findings
        with ExitStack() as stack:
            journal = stack.enter_context(Reader.read(self._journal)) if self._journal.exists() else None
            gateway: Gateway = self._venue.gateway
            if self._settings.dry_run:
                shelf = Scratch(journal.get(PAPER) if journal else None)
                equity = self._settings.sim.equity
                gateway = PaperGateway(self._venue.gateway, self._venue.clock, shelf, equity=equity, costs=self._costs)
            with findings.checking("symbols"):
                rules, prices = await self._market(gateway)
                self._symbols(rules, prices)
                with findings.checking("account"):
                    account = await gateway.account()
                    mode = "imagined, " if self._settings.dry_run else ""
                    findings.passed(
                        "account", f"{mode}equity {account.equity:.2f} USDT, {account.available:.2f} available"
                    )
                    if not self._strategy.symbols:
                        await self._basket(journal, gateway, account, rules, prices)
                        return
                    await self._modes(gateway, account)
                    await self._holdings(journal, gateway, account)
                    self._sizes(account, rules, prices)
                    await self._next_close(gateway, account, rules, prices)

    async def _basket(
        self,
        journal: Reader | None,
        gateway: Gateway,
        account: Account,
        rules: Mapping[str, Instrument],
        prices: Mapping[str, Decimal],
    ) -> None:
        basket = BasketChecks(self._strategy, self._limits, self._costs, self._findings)
        with self._findings.checking("modes"):
            await basket.modes(gateway, account, journal)
        await self._holdings(journal, gateway, account)
        basket.sizes(account, rules, prices)
        await basket.next_close(gateway, self._venue.clock, account)

    async def _market(self, gateway: Gateway) -> tuple[Mapping[str, Instrument], Mapping[str, Decimal]]:
        """Return rules and prices of the strategy's symbols, or of all it may hold of what is listed."""
        if self._strategy.symbols:
            symbols = self._strategy.symbols
            return await gateway.instruments(symbols), await self._prices(gateway, symbols)
        rules, unusable = await gateway.listed()
        for symbol, why in unusable.items():
            self._findings.warned("symbols", f"{symbol}: {why}", "it is left out; see whether it matters")
        open_now = {symbol: one for symbol, one in rules.items() if one.trading}
        return open_now, await self._prices(gateway, self._strategy.universe(open_now))

    async def _prices(self, gateway: Gateway, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        prices = await gateway.prices(symbols)
        if untold := [symbol for symbol in symbols if symbol not in prices]:
            said = f"no mark price is told of {', '.join(untold)}"
            self._findings.warned("symbols", said, "it stays as it is until there is one; the others are traded")
        return prices

    def _symbols(self, rules: Mapping[str, Instrument], prices: Mapping[str, Decimal]) -> None:
        if not self._strategy.symbols:
            self._findings.passed("symbols", f"{len(prices)} of {len(rules)} perpetuals that are traded may be held")
            return
        shut = [f"{symbol} is {one.status}" for symbol, one in rules.items() if not one.trading]
        if shut:
            self._findings.warned("symbols", ", ".join(shut), "nothing is opened in them; name another symbol")
        else:
            priced = ((symbol, one) for symbol, one in rules.items() if symbol in prices)
            said = (f"{symbol} at {money(prices[symbol])}, steps of {one.step}" for symbol, one in priced)
            self._findings.passed("symbols", "; ".join(said))

    async def _modes(self, gateway: Gateway, account: Account) -> None:
        with self._findings.checking("modes"):
            await check_fees(gateway, self._findings)
            for symbol in self._strategy.symbols:
                with self._findings.checking("modes"):
                    setup = await gateway.setup(symbol)
                    require_setup(setup)
                    self._leverage(setup, held=bool(account.quantity(symbol)))

    def _leverage(self, setup: Setup, *, held: bool) -> None:
        wanted = (self._strategy.leverage, self._strategy.margin_mode)
        said = f"one-way mode; {setup.symbol} at {setup.leverage}x {setup.margin_mode}"
        if (setup.leverage, setup.margin_mode) == wanted:
            self._findings.passed("modes", said)
        elif held:
            raise Mismatch(
                f"{said} while it is held, and the strategy wants {wanted[0]}x {wanted[1]}; close the position or set "
                "the strategy to what the account has."
            )
        else:
            self._findings.passed("modes", f"{said}; the start sets {wanted[0]}x {wanted[1]}")

    async def _holdings(self, journal: Reader | None, gateway: Gateway, account: Account) -> None:
        with self._findings.checking("holdings"):
            resting = await gateway.open_orders()
            require_no_resting(resting if journal is None else unknown(journal, resting))
            if journal is None or not journal.has_baseline():
                require_flat(account)
                self._findings.passed("holdings", "nothing, as a new journal expects")
            elif self._settings.dry_run:
                self._findings.skipped("holdings", "a dry run's book is imagined")
            else:
                require_traded(journal, self._strategy.symbols)
                differences = (await compare(journal, self._venue.gateway))["differences"]
                if differences:
                    raise Mismatch(
                        f"Journal and exchange differ ({', '.join(differences)}); undo what was done by hand, or "
                        "accept the account with `trader run --adopt`."
                    )
                self._findings.passed("holdings", "what the journal says, to the cent")

    def _sizes(self, account: Account, rules: Mapping[str, Instrument], prices: Mapping[str, Decimal]) -> None:
        """Check sizes against minimum notional, brackets and margin, as the start does."""
        strategy, cap = self._strategy, self._limits.canary_notional
        instead = instead_of_refusing(account)
        for size in sizes_of(strategy, account.equity, prices, cap):
            symbol = size.symbol
            with self._findings.checking("size", instead):
                if not account.quantity(symbol):
                    require_least(size, rules[symbol])
                self._findings.passed(
                    "size", f"{size.notional:.2f} USDT of {symbol}, at least {rules[symbol].min_notional} are needed"
                )
            leverage = rules[symbol].leverage(size.notional, strategy.leverage)
            with self._findings.checking("brackets", instead):
                require_bracket(size, rules[symbol], leverage)
                tiers = rules[symbol].brackets
                most = f"up to {tiers and rules[symbol].bracket(size.notional).max_leverage}x" if tiers else "not told"
                self._findings.passed("brackets", f"{size.notional:.2f} USDT of {symbol}: {most}")
            with self._findings.checking("margin", instead):
                free = require_margin(size, account.equity, leverage, self._costs)
                said = f"{free:.2%} of the equity are free after a change of side"
                if free < _TIGHT:
                    self._findings.warned(
                        "margin", f"{said}: a small move between decision and fill is refused with -2019",
                        "raise the leverage or lower the exposure",
                    )  # fmt: skip
                else:
                    self._findings.passed("margin", said)
            self._stop(account, size, rules[symbol], leverage)

    def _stop(self, account: Account, size: Size, rules: Instrument, leverage: int) -> None:
        """Check that the protective stop comes before liquidation, where there is one."""
        stop = self._limits.protective_stop
        if stop is None:
            return
        with self._findings.checking("stop", instead_of_refusing(account)):
            margin = Margin(leverage, self._strategy.margin_mode == "isolated")
            away = require_stop(size, rules, account.equity, margin, stop)
            said = f"{size.symbol} is closed {stop:.2%} against its average price"
            if self._settings.dry_run:
                self._findings.skipped("stop", "a dry run imagines none")
            else:
                self._findings.passed("stop", said + (f", liquidated {away:.2%} away" if away is not None else ""))

    async def _next_close(
        self, gateway: Gateway, account: Account, rules: Mapping[str, Instrument], prices: Mapping[str, Decimal]
    ) -> None:
        """Plan the next close both ways: what guards would refuse, and what it could cost at most."""
        strategy = self._strategy
        rates = await gateway.funding_rates(strategy.symbols)
        held = {symbol: account.quantity(symbol) for symbol in strategy.symbols}
        book = Book(
            account.equity, account.equity, held, prices, rules, State.ACTIVE, funding_rates=rates,
            unrealised={symbol: one.unrealised for symbol, one in account.positions.items()},
        )  # fmt: skip
        margin = Margin(strategy.leverage, strategy.margin_mode == "isolated")
        costs, refused = [], []
        for side in (1.0, -1.0):
            planned = self._planned(side, book)
            legs, refusals = guards.judge(planned.legs, book, self._limits, margin)
            refused.append({f"{one.guard}: {one.reason}" for one in refusals})
            traded = sum((abs(leg.quantity) * prices[leg.symbol] for leg in legs), Decimal(0))
            trading = traded * (self._costs.fee + self._costs.spread / 2 + self._costs.slippage)
            reached = dict(held)
            for leg in legs:
                reached[leg.symbol] += leg.quantity
            paid = sum(
                (max(Decimal(0), reached[s] * prices[s] * rates.get(s, Decimal(0))) for s in reached), Decimal(0)
            )
            backing = sum((abs(reached[s]) * prices[s] for s in reached), Decimal(0)) / strategy.leverage
            costs.append((trading + paid, trading, paid, backing if margin.isolated else account.equity))
        self._say_guards(refused)
        whole, trading, paid, backing = max(costs)
        self._findings.passed(
            "next close",
            f"costs at most {whole:.2f} USDT ({trading:.2f} to trade, {paid:.2f} of funding) and then risks the "
            f"{backing:.2f} USDT of its margin",
        )

    def _planned(self, side: float, book: Book) -> Plan:
        strategy = self._strategy
        targets = {symbol: side * strategy.share(len(strategy.symbols)) for symbol in strategy.symbols}
        capital, _ = cut_to_canary(strategy, targets, book, self._limits)
        return plan(targets, book, strategy.band, capital=capital, reopen=strategy.rebalance == "every_close")

    def _say_guards(self, refused: list[set[str]]) -> None:
        always = refused[0] & refused[1]
        either = sorted(refused[0] | refused[1])
        with self._findings.checking("guards"):
            if all(refused) and always:
                raise Mismatch(
                    f"The guards would refuse every opening order ({', '.join(sorted(always))}); widen the limit, or "
                    "make the strategy smaller."
                )
            if either:
                self._findings.warned("guards", f"one side would be refused: {', '.join(either)}", "see TRADER_RISK__*")
            else:
                self._findings.passed("guards", "would let the next close open either side")
