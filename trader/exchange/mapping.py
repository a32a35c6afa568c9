"""Between Binance's words and ours: the only place where side and position side exist."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from math import lcm

from trader.domain.account import Account, Income, MarginMode, Position, Setup
from trader.domain.instrument import Bracket, Instrument
from trader.domain.order import Fill, Order, OrderRequest
from trader.domain.stop import Stop, StopRequest
from trader.errors import ExchangeError, Mismatch
from trader.exchange import answers
from trader.exchange.clock import from_milliseconds

USDT = "USDT"
_EIGHT_DECIMALS = Decimal("1e-8")
_MARGIN_TYPES: dict[str, MarginMode] = {"ISOLATED": "isolated", "CROSSED": "cross"}
_SIGNS = {"BUY": 1, "SELL": -1}
_ONE_WAY = "BOTH"
_NEVER = 4_133_404_800_000
"""The delivery date of a perpetual whose end is not known."""


@dataclass(frozen=True, slots=True)
class Funding:
    """One funding stamp: longs pay `rate` of the notional at `price` to shorts."""

    symbol: str
    time: datetime
    rate: Decimal
    price: Decimal


def order_parameters(order: OrderRequest) -> dict[str, object]:
    """Return the parameters of one order in one-way mode: at the market, or at once or never within its limit."""
    parameters: dict[str, object] = {
        "symbol": order.symbol,
        "side": "BUY" if order.quantity > 0 else "SELL",
        "positionSide": _ONE_WAY,
        "type": "MARKET",
        "quantity": plain(abs(order.quantity)),
        "reduceOnly": "true" if order.reduce_only else "false",
        "newClientOrderId": order.client_id,
        "newOrderRespType": "RESULT",
    }
    if order.limit is not None:
        parameters |= {"type": "LIMIT", "timeInForce": "IOC", "price": plain(order.limit)}
    return parameters


def margin_type(mode: MarginMode) -> str:
    """Return Binance's word for a margin mode."""
    return next(word for word, known in _MARGIN_TYPES.items() if known == mode)


def plain(number: Decimal) -> str:
    """Write a number without exponent and trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def order_of(answer: answers.OrderAnswer) -> Order:
    """Return an order; an average price it does not tell yet is zero."""
    sign = _sign(answer.side)
    return Order(
        client_id=answer.client_order_id,
        exchange_id=answer.order_id,
        symbol=answer.symbol,
        quantity=sign * answer.orig_qty,
        filled=sign * answer.executed_qty,
        average_price=answer.avg_price,
        status=answer.status,
        reduce_only=answer.reduce_only,
        time=from_milliseconds(answer.update_time),
    )


def algo_order_of(answer: answers.AlgoOrderAnswer) -> Order:
    """Return a conditional order at rest."""
    return Order(
        client_id=answer.client_algo_id,
        exchange_id=answer.algo_id,
        symbol=answer.symbol,
        quantity=_sign(answer.side) * answer.quantity,
        filled=Decimal(0),
        average_price=Decimal(0),
        status=answer.algo_status,
        reduce_only=answer.reduce_only,
        time=from_milliseconds(answer.create_time),
    )


def stop_parameters(stop: StopRequest) -> dict[str, object]:
    """Return the parameters of a stop that closes a whole position, judged by the mark price."""
    return {
        "algoType": "CONDITIONAL",
        "symbol": stop.symbol,
        "side": "BUY" if stop.closes > 0 else "SELL",
        "positionSide": _ONE_WAY,
        "type": "STOP_MARKET",
        "triggerPrice": plain(stop.trigger),
        "workingType": "MARK_PRICE",
        "closePosition": "true",
        "clientAlgoId": stop.client_id,
    }


def stop_of(answer: answers.StopAnswer) -> Stop:
    """Return a stop."""
    _sign(answer.side)
    return Stop(
        client_id=answer.client_algo_id,
        exchange_id=answer.algo_id,
        symbol=answer.symbol,
        trigger=answer.trigger_price,
        status=answer.algo_status,
        order_id=answer.actual_order_id or None,
        time=from_milliseconds(answer.update_time),
    )


def answers_request(order: Order, request: OrderRequest) -> bool:
    """Whether an answer speaks of the order that was asked for.

    One that only reduces may have been cut to what is held.
    """
    if (order.client_id, order.symbol) != (request.client_id, request.symbol):
        return False
    cut = request.reduce_only and 0 <= order.quantity / request.quantity < 1
    return cut or order.quantity == request.quantity


def fill_of(row: answers.TradeRow) -> Fill:
    """Return one trade; a fee in another coin leaves the wallet of USDT as it is, and so it is no fee of ours there."""
    elsewhere = row.commission_asset != USDT and bool(row.commission)
    return Fill(
        trade_id=row.id,
        exchange_id=row.order_id,
        symbol=row.symbol,
        quantity=_sign(row.side) * row.qty,
        price=row.price,
        fee=Decimal(0) if elsewhere else row.commission,
        realised=row.realized_pnl,
        time=from_milliseconds(row.time),
        paid=(row.commission, row.commission_asset) if elsewhere else None,
    )


def income_of(row: answers.IncomeRow) -> Income:
    """Return one booking."""
    return Income(
        id=row.tran_id,
        kind=row.income_type,
        symbol=row.symbol,
        amount=row.income,
        time=from_milliseconds(row.time),
        trade_id=row.trade_id,
    )


def funding_of(row: answers.FundingRow) -> Funding:
    """Return one funding stamp."""
    return Funding(
        symbol=row.symbol, time=from_milliseconds(row.funding_time), rate=row.funding_rate, price=row.mark_price
    )


def account_of(answer: answers.AccountAnswer, time: datetime) -> Account:
    """Return the account.

    Raises:
        ExchangeError: the row of USDT is missing, which says nothing about how much there is.
        Mismatch: a position is held in hedge mode.
    """
    wallets = [row.wallet_balance for row in answer.assets if row.asset == USDT]
    if len(wallets) != 1:
        raise ExchangeError(
            f"The account's answer has {len(wallets)} rows of USDT instead of one, so its equity is unknown; ask "
            "again, and transfer USDT to the futures wallet if it never held any."
        )
    positions: dict[str, Position] = {}
    for row in answer.positions:
        if row.position_amt == 0:
            continue
        if row.position_side != _ONE_WAY:
            raise Mismatch(
                f"The account holds a {row.position_side} position of {row.symbol} in hedge mode; close it and switch "
                "the account to one-way mode."
            )
        if row.symbol in positions:
            raise ExchangeError(f"The account's answer lists {row.symbol} twice; it is not used.")
        # The answer has no entry price, but defines the other two by it.
        entry = (row.notional - row.unrealized_profit) / row.position_amt
        positions[row.symbol] = Position(
            symbol=row.symbol,
            quantity=row.position_amt,
            entry_price=entry.quantize(_EIGHT_DECIMALS, ROUND_HALF_EVEN),
            unrealised=row.unrealized_profit,
        )
    return Account(
        time=time,
        wallet=wallets[0],
        equity=answer.total_margin_balance,
        available=answer.available_balance,
        positions=positions,
    )


def setup_of(symbol: answers.SymbolConfig, account: answers.AccountConfig) -> Setup:
    """Return how the account is configured for one symbol."""
    return Setup(
        symbol=symbol.symbol,
        leverage=symbol.leverage,
        margin_mode=_MARGIN_TYPES[symbol.margin_type],
        hedge_mode=account.dual_side_position,
        multi_assets=account.multi_assets_margin,
        can_trade=account.can_trade,
    )


def instrument_of(info: answers.SymbolInfo, brackets: tuple[Bracket, ...], where: str) -> Instrument:
    """Return one symbol's rules, under which both lot filters are satisfied.

    The step is the least common multiple of the two, the minimum is raised to whole steps of it.

    Raises:
        ExchangeError: a filter is missing, or there is no step at all.
    """
    filters = {str(row.get("filterType")): row for row in info.filters}
    missing = {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MIN_NOTIONAL"} - filters.keys()
    if missing:
        raise ExchangeError(f"{where} has no {', '.join(sorted(missing))} for {info.symbol}; it is not used.")
    lots = [answers.read(answers.LOT_FILTER, filters[name], where) for name in ("LOT_SIZE", "MARKET_LOT_SIZE")]
    steps = [lot.step_size for lot in lots if lot.step_size]
    if not steps:
        raise ExchangeError(f"{where} has no lot step for {info.symbol}; it is not used.")
    price = answers.read(answers.PRICE_FILTER, filters["PRICE_FILTER"], where)
    rules = Instrument(
        symbol=info.symbol,
        status=info.status,
        tick=price.tick_size,
        step=_common_step(steps),
        min_quantity=max(lot.min_qty for lot in lots),
        max_quantity=min(lot.max_qty for lot in lots),
        min_notional=answers.read(answers.NOTIONAL_FILTER, filters["MIN_NOTIONAL"], where).notional,
        brackets=brackets,
        min_price=price.min_price,
        max_price=price.max_price or Decimal("Infinity"),
        begins=from_milliseconds(info.onboard_date) if info.onboard_date > 0 else None,
        ends=from_milliseconds(info.delivery_date) if 0 < info.delivery_date < _NEVER else None,
    )
    if "PERCENT_PRICE" in filters:
        percent = answers.read(answers.PERCENT_FILTER, filters["PERCENT_PRICE"], where)
        rules = replace(rules, multiplier_up=percent.multiplier_up, multiplier_down=percent.multiplier_down)
    if "MAX_NUM_ORDERS" in filters:
        most = answers.read(answers.COUNT_FILTER, filters["MAX_NUM_ORDERS"], where).limit
        rules = replace(rules, max_orders=most or rules.max_orders)
    if rules.max_quantity < rules.least:
        raise ExchangeError(f"{where} has lot sizes for {info.symbol} that allow no order; it is not used.")
    return replace(rules, min_quantity=rules.least) if rules.min_quantity else rules


def _common_step(steps: Sequence[Decimal]) -> Decimal:
    """Return the smallest step whose multiples are multiples of every one."""
    unit = Decimal(1).scaleb(min(int(step.normalize().as_tuple().exponent) for step in steps))
    return unit * lcm(*(int(step / unit) for step in steps))


def brackets_of(rows: Iterable[answers.BracketRow]) -> tuple[Bracket, ...]:
    """Return leverage brackets from the smallest notional to the largest."""
    return tuple(
        sorted(
            (
                Bracket(
                    floor=row.notional_floor,
                    cap=row.notional_cap,
                    max_leverage=row.initial_leverage,
                    maintenance_rate=row.maint_margin_ratio,
                    maintenance_amount=row.cum,
                )
                for row in rows
            ),
            key=lambda bracket: bracket.floor,
        )
    )


def _sign(side: str) -> int:
    if side not in _SIGNS:
        raise ExchangeError(f"The exchange named the side {side!r}, which is neither BUY nor SELL; it is not used.")
    return _SIGNS[side]
