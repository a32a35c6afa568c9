"""List what the exchange answers to: path, weight, and whether a signature is needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trader.sim import market, orders, private
from trader.sim.desk import Desk
from trader.sim.wire import Params

Handler = Callable[[Desk, Params], str]


@dataclass(frozen=True, slots=True)
class Route:
    """Hold one endpoint; ``orders`` says that it spends the order limits, ``spot`` that it spends no weight here."""

    handler: Handler
    weight: int | Callable[[Params], int] = 1
    signed: bool = False
    orders: bool = False
    spot: bool = False


_SINGLE = market.one_or_all

ROUTES: Mapping[str, Route] = {
    "GET /fapi/v1/ping": Route(market.ping),
    "GET /fapi/v1/time": Route(market.server_time),
    "GET /fapi/v1/exchangeInfo": Route(market.exchange_info),
    "GET /fapi/v1/klines": Route(market.klines, market.klines_weight),
    "GET /fapi/v1/ticker/price": Route(market.ticker_price, _SINGLE(1, 2)),
    "GET /fapi/v2/ticker/price": Route(market.ticker_price, _SINGLE(1, 2)),
    "GET /fapi/v1/ticker/24hr": Route(market.ticker_24h, _SINGLE(1, 40)),
    "GET /fapi/v1/ticker/bookTicker": Route(market.book_ticker, _SINGLE(2, 5)),
    "GET /fapi/v1/premiumIndex": Route(market.premium_index, _SINGLE(1, 10)),
    "GET /fapi/v1/fundingRate": Route(market.funding_rate),
    "GET /fapi/v2/account": Route(private.account_v2, 5, signed=True),
    "GET /fapi/v3/account": Route(private.account_v3, 5, signed=True),
    "GET /fapi/v2/balance": Route(private.balance, 5, signed=True),
    "GET /fapi/v3/balance": Route(private.balance, 5, signed=True),
    "GET /fapi/v2/positionRisk": Route(private.position_risk_v2, 5, signed=True),
    "GET /fapi/v3/positionRisk": Route(private.position_risk_v3, 5, signed=True),
    "GET /fapi/v1/accountConfig": Route(private.account_config, 5, signed=True),
    "GET /fapi/v1/symbolConfig": Route(private.symbol_config, 5, signed=True),
    "POST /fapi/v1/leverage": Route(private.set_leverage, signed=True),
    "POST /fapi/v1/marginType": Route(private.set_margin_type, signed=True),
    "GET /fapi/v1/positionSide/dual": Route(private.get_position_mode, 30, signed=True),
    "POST /fapi/v1/positionSide/dual": Route(private.set_position_mode, signed=True),
    "GET /fapi/v1/multiAssetsMargin": Route(private.multi_assets, 30, signed=True),
    "GET /fapi/v1/leverageBracket": Route(private.leverage_bracket, signed=True),
    "GET /fapi/v1/commissionRate": Route(private.commission_rate, 20, signed=True),
    "GET /fapi/v1/rateLimit/order": Route(private.order_rate_limit, signed=True),
    "POST /fapi/v1/order": Route(orders.new_order, 0, signed=True, orders=True),
    "POST /fapi/v1/order/test": Route(orders.test_order, 0, signed=True),
    "GET /fapi/v1/order": Route(orders.get_order, signed=True),
    "DELETE /fapi/v1/order": Route(orders.cancel_order, signed=True),
    "GET /fapi/v1/openOrders": Route(orders.open_orders, _SINGLE(1, 40), signed=True),
    "GET /fapi/v1/allOrders": Route(orders.all_orders, 5, signed=True),
    "GET /fapi/v1/userTrades": Route(orders.user_trades, 5, signed=True),
    "GET /fapi/v1/income": Route(orders.income, 30, signed=True),
    "GET /sapi/v1/account/apiRestrictions": Route(private.api_restrictions, signed=True, spot=True),
}
