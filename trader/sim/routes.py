"""List what the exchange answers to: path, weight, and whether a signature is needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trader.sim import algos, history, market, orders, private, settings
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
    "GET /fapi/v1/depth": Route(market.depth, market.depth_weight),
    "GET /fapi/v1/premiumIndex": Route(market.premium_index, _SINGLE(1, 10)),
    "GET /fapi/v1/fundingRate": Route(market.funding_rate),
    "GET /fapi/v1/fundingInfo": Route(market.funding_info, 0),
    "GET /fapi/v2/account": Route(private.account_v2, 5, signed=True),
    "GET /fapi/v3/account": Route(private.account_v3, 5, signed=True),
    "GET /fapi/v2/balance": Route(private.balance, 5, signed=True),
    "GET /fapi/v3/balance": Route(private.balance, 5, signed=True),
    "GET /fapi/v2/positionRisk": Route(private.position_risk_v2, 5, signed=True),
    "GET /fapi/v3/positionRisk": Route(private.position_risk_v3, 5, signed=True),
    "GET /fapi/v1/accountConfig": Route(settings.account_config, 5, signed=True),
    "GET /fapi/v1/symbolConfig": Route(settings.symbol_config, 5, signed=True),
    "POST /fapi/v1/leverage": Route(settings.set_leverage, signed=True),
    "POST /fapi/v1/marginType": Route(settings.set_margin_type, signed=True),
    "GET /fapi/v1/positionSide/dual": Route(settings.get_position_mode, 30, signed=True),
    "POST /fapi/v1/positionSide/dual": Route(settings.set_position_mode, signed=True),
    "GET /fapi/v1/multiAssetsMargin": Route(settings.multi_assets, 30, signed=True),
    "POST /fapi/v1/multiAssetsMargin": Route(settings.set_multi_assets, signed=True),
    "GET /fapi/v1/feeBurn": Route(settings.fee_burn, 30, signed=True),
    "POST /fapi/v1/feeBurn": Route(settings.set_fee_burn, signed=True),
    "GET /fapi/v1/adlQuantile": Route(private.adl_quantile, 5, signed=True),
    "GET /fapi/v1/leverageBracket": Route(settings.leverage_bracket, signed=True),
    "GET /fapi/v1/commissionRate": Route(settings.commission_rate, 20, signed=True),
    "GET /fapi/v1/rateLimit/order": Route(settings.order_rate_limit, signed=True),
    "POST /fapi/v1/order": Route(orders.new_order, 0, signed=True, orders=True),
    "POST /fapi/v1/order/test": Route(orders.test_order, 0, signed=True),
    "GET /fapi/v1/order": Route(orders.get_order, signed=True),
    "DELETE /fapi/v1/order": Route(orders.cancel_order, signed=True),
    "DELETE /fapi/v1/allOpenOrders": Route(orders.cancel_orders, signed=True),
    "GET /fapi/v1/openOrder": Route(orders.open_order, signed=True),
    "GET /fapi/v1/openOrders": Route(orders.open_orders, _SINGLE(1, 40), signed=True),
    "GET /fapi/v1/allOrders": Route(orders.all_orders, 5, signed=True),
    "GET /fapi/v1/forceOrders": Route(orders.force_orders, _SINGLE(20, 50), signed=True),
    "POST /fapi/v1/algoOrder": Route(algos.new_algo, 0, signed=True, orders=True),
    "GET /fapi/v1/algoOrder": Route(algos.get_algo, signed=True),
    "DELETE /fapi/v1/algoOrder": Route(algos.cancel_algo, signed=True),
    "DELETE /fapi/v1/algoOpenOrders": Route(algos.cancel_algos, signed=True),
    "GET /fapi/v1/openAlgoOrders": Route(algos.open_algos, _SINGLE(1, 40), signed=True),
    "GET /fapi/v1/allAlgoOrders": Route(algos.all_algos, 5, signed=True),
    "GET /fapi/v1/userTrades": Route(history.user_trades, 5, signed=True),
    "GET /fapi/v1/income": Route(history.income, 30, signed=True),
    "GET /sapi/v1/account/apiRestrictions": Route(settings.api_restrictions, signed=True, spot=True),
}
