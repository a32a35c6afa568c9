"""Instruments, books and limits for the tests of the core: plain numbers, one symbol unless said otherwise."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trader.domain.decision import Book, Leg, Limits, State
from trader.domain.instrument import Bracket, Instrument
from trader.execution.fills import Costs, Ledger, Liquidation

SYMBOL = "ADAUSDT"
OTHER = "BTCUSDT"

# notional up to, highest leverage, maintenance rate, amount taken off
TABLE = (
    ("50000", 50, "0.01", "0"),
    ("250000", 25, "0.02", "500"),
    ("1000000", 10, "0.05", "8000"),
    ("5000000", 5, "0.1", "58000"),
    ("1000000000", 2, "0.125", "183000"),
)


def brackets() -> tuple[Bracket, ...]:
    floor, made = Decimal(0), []
    for cap, leverage, rate, amount in TABLE:
        made.append(Bracket(floor, Decimal(cap), leverage, Decimal(rate), Decimal(amount)))
        floor = Decimal(cap)
    return tuple(made)


def flat_bracket(rate: str, amount: str = "0") -> tuple[Bracket, ...]:
    """One tier for every notional."""
    return (Bracket(Decimal(0), Decimal("1e12"), 125, Decimal(rate), Decimal(amount)),)


def instrument(symbol: str = SYMBOL, **given: Any) -> Instrument:
    """Tick 0.0001, step and minimum 1, at most 1,000,000 an order, at least 5 USDT; numbers may be given as text."""
    rules: dict[str, Any] = {
        "symbol": symbol,
        "status": "TRADING",
        "tick": Decimal("0.0001"),
        "step": Decimal(1),
        "min_quantity": Decimal(1),
        "max_quantity": Decimal(1_000_000),
        "min_notional": Decimal(5),
        "brackets": brackets(),
    }
    words = {"status": given.pop("status")} if "status" in given else {}
    exact = {name: Decimal(value) if isinstance(value, str) else value for name, value in given.items()}
    return Instrument(**(rules | exact | words))


def book(
    equity: str,
    price: str,
    held: str = "0",
    *,
    rules: Instrument | None = None,
    peak: str | None = None,
    state: State = State.ACTIVE,
) -> Book:
    """One symbol at one price; flat is an empty mapping, as the exchange tells it."""
    quantity = Decimal(held)
    return Book(
        equity=Decimal(equity),
        peak_equity=Decimal(equity if peak is None else peak),
        positions={SYMBOL: quantity} if quantity else {},
        prices={SYMBOL: Decimal(price)},
        instruments={SYMBOL: rules or instrument()},
        state=state,
    )


def limits(**given: Any) -> Limits:
    """No limit that binds, except those given."""
    none: dict[str, Any] = {"max_drawdown": Decimal(1), "max_leverage": Decimal(1000)}
    exact = {name: Decimal(value) if isinstance(value, str) else value for name, value in given.items()}
    return Limits(**(none | exact))


def walked(held: Decimal, legs: tuple[Leg, ...], symbol: str = SYMBOL) -> list[Decimal]:
    """The positions one symbol goes through, the first one included."""
    path = [held]
    for leg in legs:
        if leg.symbol == symbol:
            path.append(leg.reaches(path[-1]))
    return path


def free_of_charge() -> Costs:
    return Costs(Decimal(0), Decimal(0), Decimal(0))


def ledger(wallet: str, leverage: int = 10, costs: Costs | None = None, **given: Any) -> Ledger:
    return Ledger(Decimal(wallet), costs or free_of_charge(), leverage, **given)


def liquidated(account: Ledger, rules: Instrument, price: Decimal) -> Liquidation | None:
    """Test an account that holds one symbol at a price of it."""
    return account.liquidate({rules.symbol: rules}, {rules.symbol: price})


def at(price: str, symbol: str = SYMBOL) -> Mapping[str, Decimal]:
    return {symbol: Decimal(price)}
