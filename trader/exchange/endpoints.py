"""The endpoints used, with their weights."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: ccxt's implicit method, the words for messages, and its weight against the minute's limit."""

    method: str
    where: str
    weight: int

    def __str__(self) -> str:
        return self.where


TIME: Final = Endpoint("fapiPublicGetTime", "GET /fapi/v1/time", 1)
EXCHANGE_INFO: Final = Endpoint("fapiPublicGetExchangeInfo", "GET /fapi/v1/exchangeInfo", 1)
PREMIUM_INDEX: Final = Endpoint("fapiPublicGetPremiumIndex", "GET /fapi/v1/premiumIndex", 1)
ALL_PREMIUM_INDEX: Final = Endpoint("fapiPublicGetPremiumIndex", "GET /fapi/v1/premiumIndex", 10)
BRACKETS: Final = Endpoint("fapiPrivateGetLeverageBracket", "GET /fapi/v1/leverageBracket", 1)
ACCOUNT: Final = Endpoint("fapiPrivateV3GetAccount", "GET /fapi/v3/account", 5)
KEY_RIGHTS: Final = Endpoint("sapiGetAccountApiRestrictions", "GET /sapi/v1/account/apiRestrictions", 1)
ACCOUNT_CONFIG: Final = Endpoint("fapiPrivateGetAccountConfig", "GET /fapi/v1/accountConfig", 5)
SYMBOL_CONFIG: Final = Endpoint("fapiPrivateGetSymbolConfig", "GET /fapi/v1/symbolConfig", 5)
FEE_BURN: Final = Endpoint("fapiPrivateGetFeeBurn", "GET /fapi/v1/feeBurn", 30)
SET_LEVERAGE: Final = Endpoint("fapiPrivatePostLeverage", "POST /fapi/v1/leverage", 1)
SET_MARGIN_MODE: Final = Endpoint("fapiPrivatePostMarginType", "POST /fapi/v1/marginType", 1)
SEND_ORDER: Final = Endpoint("fapiPrivatePostOrder", "POST /fapi/v1/order", 0)
TEST_ORDER: Final = Endpoint("fapiPrivatePostOrderTest", "POST /fapi/v1/order/test", 1)
FIND_ORDER: Final = Endpoint("fapiPrivateGetOrder", "GET /fapi/v1/order", 1)
OPEN_ORDERS: Final = Endpoint("fapiPrivateGetOpenOrders", "GET /fapi/v1/openOrders", 40)
OPEN_ALGO_ORDERS: Final = Endpoint("fapiPrivateGetOpenAlgoOrders", "GET /fapi/v1/openAlgoOrders", 40)
PLACE_STOP: Final = Endpoint("fapiPrivatePostAlgoOrder", "POST /fapi/v1/algoOrder", 0)
FIND_STOP: Final = Endpoint("fapiPrivateGetAlgoOrder", "GET /fapi/v1/algoOrder", 1)
CANCEL_STOP: Final = Endpoint("fapiPrivateDeleteAlgoOrder", "DELETE /fapi/v1/algoOrder", 1)
USER_TRADES: Final = Endpoint("fapiPrivateGetUserTrades", "GET /fapi/v1/userTrades", 5)
FUNDING_RATE: Final = Endpoint("fapiPublicGetFundingRate", "GET /fapi/v1/fundingRate", 1)
FUNDING_INFO: Final = Endpoint("fapiPublicGetFundingInfo", "GET /fapi/v1/fundingInfo", 0)
INCOME: Final = Endpoint("fapiPrivateGetIncome", "GET /fapi/v1/income", 30)

KLINES_PAGE: Final = 1000


def klines(limit: int) -> Endpoint:
    """Return the klines endpoint, whose weight grows with the number of rows asked for."""
    weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= KLINES_PAGE else 10
    return Endpoint("fapiPublicGetKlines", "GET /fapi/v1/klines", weight)
