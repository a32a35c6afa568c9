"""What must hold before the first close, each refused in a sentence with its remedy.

`Startup` asks all of it and stops at the first refusal; `trader check` asks the same and lists every one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trader.decide import Strategy
from trader.domain.account import Account, KeyRights, Setup
from trader.domain.decision import Margin
from trader.domain.instrument import Instrument
from trader.domain.order import FLATTENING, Order
from trader.errors import ConfigError, Mismatch, NotPermitted
from trader.execution.fills import Costs
from trader.execution.guards import liquidation_distance
from trader.journal.queries import Reader

NO_COSTS = Costs(Decimal(0), Decimal(0), Decimal(0))


def require_setup(setup: Setup, *, closing: bool = False) -> None:
    """Refuse an account in which one order could open a second position, that counts other coins, or may not trade.

    Raises:
        ConfigError: hedge mode, or multi-assets mode.
        NotPermitted: the key may not trade futures.
    """
    if setup.hedge_mode:
        raise ConfigError(
            "The account is in hedge mode, in which one order can open a second position; switch it to one-way "
            "mode (Binance: Futures > Preferences > Position Mode) while no position is open, then start again."
        )
    # reduce-only orders close in either mode, whatever counts as equity
    if setup.multi_assets and not closing:
        raise ConfigError(
            "The account is in multi-assets mode, in which every coin counts as equity and none but USDT is booked "
            "here; switch it to single-asset mode (Binance: Futures > Preferences > Asset Mode), then start again."
        )
    if not setup.can_trade:
        raise NotPermitted("The API key may not trade futures; enable futures trading for it, then start again.")


FEES_UNTOLD = "the exchange does not tell whether fees are paid in BNB, where no money can be counted in USDT"
FEES_REMEDY = "see that the fee deduction in BNB is off (Binance: Futures > Preferences)"


def require_fees_in_usdt(burns: bool | None) -> None:
    """Refuse an account whose fees are not paid in USDT, which is the only money that is counted.

    A venue that does not tell is not refused for it: what is paid in another coin is warned of when it is booked.

    Raises:
        ConfigError: they are paid in BNB.
    """
    if burns:
        raise ConfigError(
            "The account pays its fees in BNB, so that neither equity nor costs can be counted in USDT; switch that "
            "off (Binance: Futures > Preferences > fee deduction in BNB), then start again."
        )


def require_rights(rights: KeyRights) -> None:
    """Refuse a key that cannot trade, or that could take money away.

    Raises:
        NotPermitted: it may withdraw or transfer, or may not read or trade futures.
    """
    much = [name for name, may in (("withdraw", rights.withdraw), ("transfer", rights.transfer)) if may]
    if much:
        raise NotPermitted(
            f"The API key may {' and '.join(much)}, which a daemon never needs and a thief does; switch those rights "
            "off at the exchange, or make a key that may only read and trade futures."
        )
    if not (rights.read and rights.trade_futures):
        missing = "trade futures" if rights.read else "read"
        raise NotPermitted(f"The API key may not {missing}; give it that right at the exchange.")


def require_no_resting(orders: Sequence[Order]) -> None:
    """Refuse an account on which orders rest.

    Raises:
        Mismatch: some do.
    """
    if orders:
        names = ", ".join(order.client_id for order in orders[:3])
        raise Mismatch(
            f"The account has {len(orders)} open orders that are not at their end ({names}); cancel them on the "
            "exchange, then start again."
        )


def require_flat(account: Account) -> None:
    """Refuse an account that holds something while the journal is new.

    Raises:
        Mismatch: it does.
    """
    held = {symbol: p.quantity for symbol, p in account.positions.items() if p.quantity}
    if held:
        raise Mismatch(
            f"This journal is new, but the account holds {words(held)}; close it by hand, or accept it as the "
            "baseline with `trader run --adopt`."
        )


def require_traded(journal: Reader, symbols: Collection[str]) -> dict[str, Decimal]:
    """Refuse a strategy that has left the symbol of a position of ours; return what else is held beside its symbols.

    That is what a person adopted and no decision ever touched. A strategy without symbols of its own has all.

    Raises:
        Mismatch: a decision led to a position, or an order under way, in a symbol that is not traded any more.
    """
    held = journal.positions()
    open_orders = {record.intent.symbol for record in journal.open_intents()}
    outside = {*held, *open_orders} - set(symbols) if symbols else set()
    if not outside:
        return {}
    decided = {record.intent.symbol for record in journal.orders() if record.intent.leg != FLATTENING}
    left = sorted(outside & (open_orders | decided))
    if left:
        said = words({symbol: held.get(symbol, Decimal(0)) for symbol in left})
        raise Mismatch(
            f"The strategy does not trade {', '.join(left)} any more and the journal still has it ({said}), so that "
            "nothing would ever close it; put the symbol back, or close it with `trader flatten`, then start again."
        )
    return {symbol: held[symbol] for symbol in sorted(outside)}


def words(held: Mapping[str, Decimal]) -> str:
    """Write signed quantities by symbol."""
    return ", ".join(f"{symbol} {quantity:+f}" for symbol, quantity in held.items())


@dataclass(frozen=True, slots=True)
class Size:
    """What a strategy would hold of one symbol: a share of `money` in USDT, at a mark price."""

    symbol: str
    share: Decimal
    money: Decimal
    price: Decimal

    @property
    def notional(self) -> Decimal:
        """Return the notional in USDT."""
        return self.share * self.money


def sizes_of(
    strategy: Strategy,
    equity: Decimal,
    prices: Mapping[str, Decimal],
    cap: Decimal | None = None,
    among: int | None = None,
) -> list[Size]:
    """Return what a strategy would hold of symbols, where those of its universe share alike.

    Args:
        strategy: says shares and capital.
        equity: the account's, in USDT.
        prices: mark prices of what it may hold, where they are told.
        cap: the largest gross notional of all symbols together, None for none.
        among: how many symbols share, where that are more than have a price.
    """
    money = equity if strategy.capital is None else strategy.capital
    if cap is not None:
        money = min(money, cap / Decimal(repr(strategy.exposure)))
    share = Decimal(repr(strategy.share(among or len(prices))))
    return [Size(symbol, share, money, price) for symbol, price in prices.items()]


def require_most(sizes: Sequence[Size], rules: Mapping[str, Instrument]) -> tuple[str, ...]:
    """Refuse an account on which most orders of a portfolio would be too small; return the symbols that are.

    Raises:
        ConfigError: half of the sizes or more are below the least the exchange takes.
    """
    least = {
        one.symbol: max(rules[one.symbol].min_notional, rules[one.symbol].min_quantity * one.price) for one in sizes
    }
    small = [one.symbol for one in sizes if one.notional < least[one.symbol]]
    if 2 * len(small) >= len(sizes):
        one, middle = sizes[0], sorted(least.values())[len(least) // 2]
        raise ConfigError(
            f"{one.money:.2f} USDT shared alike give orders of {one.notional:.2f} USDT, too small for {len(small)} of "
            f"{len(sizes)} symbols; hold at least {middle / one.share:.2f} USDT, or make the universe smaller."
        )
    return tuple(small)


def require_least(size: Size, rules: Instrument) -> None:
    """Refuse orders too small to be sent.

    Raises:
        ConfigError: the size is below the minimum notional or quantity.
    """
    least = max(rules.min_notional, rules.min_quantity * size.price)
    if size.notional < least:
        raise ConfigError(
            f"{size.money:.2f} USDT at an exposure of {size.share} give orders of {size.notional:.2f} USDT, below the "
            f"{least:.2f} {size.symbol} needs at least; hold at least {least / size.share:.2f} USDT or raise the "
            "exposure."
        )


def require_stop(size: Size, rules: Instrument, equity: Decimal, margin: Margin, stop: Decimal) -> Decimal | None:
    """Refuse a stop that liquidation would come before; return how far that is, None where nobody tells the brackets.

    Raises:
        ConfigError: every opening order would be refused.
    """
    if not rules.brackets or size.notional <= 0:
        return None
    distance = min(
        liquidation_distance(rules, side * size.notional / size.price, size.price, equity, margin) for side in (1, -1)
    )
    if distance <= stop:
        raise ConfigError(
            f"At a leverage of {margin.leverage} {size.symbol} is liquidated {distance:.4f} from its price, before a "
            f"protective stop {stop} away; lower the leverage, or set protective_stop below {distance:.4f}."
        )
    return distance


def require_bracket(size: Size, rules: Instrument, leverage: int) -> None:
    """Refuse a size for which the exchange allows no such leverage.

    Raises:
        ConfigError: every opening order would be refused with -2027.
    """
    if not rules.brackets:
        return
    allowed = rules.bracket(size.notional).max_leverage
    if leverage > allowed or size.notional > rules.brackets[-1].cap:
        raise ConfigError(
            f"A position of {size.notional:.2f} USDT in {size.symbol} may have a leverage of {allowed} and the "
            f"strategy wants {leverage}, so every opening order would be refused with -2027; lower leverage or "
            "exposure."
        )


def headroom(size: Size, equity: Decimal, leverage: int, costs: Costs) -> Decimal:
    """Return what share of the equity is free after a change of side; below zero its opening order is refused.

    The side that is closed costs fee and slippage first; what is opened needs its initial margin and its fee at the
    price it is filled at. Counted is the change that buys, which pays more than the one that sells.
    """
    if equity <= 0:
        return Decimal(-1)
    exposure, move = size.notional / equity, costs.spread / 2 + costs.slippage
    return 1 - exposure * ((1 + move) * (1 / Decimal(leverage) + 2 * costs.fee) + move)


def require_margin(size: Size, equity: Decimal, leverage: int, costs: Costs) -> Decimal:
    """Refuse an exposure so close to the leverage that no margin is left for fee and price; return the headroom.

    Raises:
        ConfigError: every opening order would be refused with -2019.
    """
    free = headroom(size, equity, leverage, costs)
    if free < 0:
        raise ConfigError(
            f"An exposure of {size.notional / equity if equity > 0 else size.share:.4g} to {size.symbol} at a leverage "
            f"of {leverage} leaves no margin for fee and slippage ({free:.2%} of the equity), so every opening order "
            "would be refused with -2019; raise the leverage or lower the exposure."
        )
    return free
