"""The real client library, with its real URLs, talks to the exchange through a pinned resolver."""

from typing import Any

import ccxt.async_support as ccxt
import pytest


@pytest.fixture
async def venue(serve_market: Any, market: Any) -> Any:
    bars = [(0.5, 0.52, 0.49, 0.51), (0.51, 0.55, 0.5, 0.54), (0.54, 0.56, 0.53, 0.55), (0.55, 0.5501, 0.55, 0.5501)]
    wire = await serve_market(bars, begin=market.T0 + 3 * market.HOUR)
    async with market.session(wire.ready) as session:
        exchange = ccxt.binanceusdm(
            {
                "apiKey": wire.ready["api_key"],
                "secret": wire.ready["api_secret"],
                "session": session,
                "enableRateLimit": False,
                "options": {"fetchCurrencies": False},
            }
        )
        exchange.enable_demo_trading(True)
        exchange.milliseconds = lambda: wire.now
        yield wire, exchange
        await exchange.close()


async def test_ccxt_reads_markets_candles_and_the_account_and_trades(venue: Any, market: Any) -> None:
    _, exchange = venue
    assert await exchange.fetch_time() == market.T0 + 3 * market.HOUR + 1
    markets = await exchange.load_markets()
    rules = markets["ADA/USDT:USDT"]
    assert (rules["linear"], rules["precision"]["price"], rules["precision"]["amount"]) == (True, 0.0001, 1.0)
    rows = await exchange.fetch_ohlcv("ADA/USDT:USDT", "1h", limit=3)
    assert rows[0] == [market.T0 + market.HOUR, 0.51, 0.55, 0.5, 0.54, 100.0]
    raw = await exchange.fapiPublicGetKlines({"symbol": "ADAUSDT", "interval": "2h"})
    assert [len(row) for row in raw] == [12, 12]
    assert (await exchange.fetch_balance())["USDT"]["total"] == 10000
    await exchange.set_margin_mode("isolated", "ADA/USDT:USDT")
    await exchange.set_leverage(2, "ADA/USDT:USDT")
    assert (await exchange.fetch_leverage("ADA/USDT:USDT"))["longLeverage"] == 2
    order = await exchange.create_order(
        "ADA/USDT:USDT", "market", "buy", 1000, None, {"newOrderRespType": "RESULT", "newClientOrderId": "by-ccxt"}
    )
    assert (order["status"], order["filled"], order["average"]) == ("closed", 1000, 0.5502)
    found = await exchange.fapiPrivateGetOrder({"symbol": "ADAUSDT", "origClientOrderId": "by-ccxt"})
    assert found["status"] == "FILLED"
    position = (await exchange.fetch_positions())[0]
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 1000, 0.5502)
    trades = await exchange.fetch_my_trades("ADA/USDT:USDT")
    assert (trades[0]["order"], trades[0]["fee"]["cost"]) == (order["id"], 0.2751)
    assert await exchange.fetch_position_mode() == {"info": {"dualSidePosition": False}, "hedged": False}
    assert (await exchange.fetch_leverage_tiers(["ADA/USDT:USDT"]))["ADA/USDT:USDT"][0]["maxLeverage"] == 50
    income = await exchange.fapiPrivateGetIncome()
    assert [row["incomeType"] for row in income] == ["COMMISSION"]
    assert (await exchange.fetch_funding_rate("ADA/USDT:USDT"))["markPrice"] == 0.55
    tested = await exchange.fapiPrivatePostOrderTest(
        {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
    )
    assert tested["orderId"] == 0


@pytest.mark.parametrize(
    ("quantity", "params", "error"),
    [
        (1, {}, ccxt.InvalidOrder),
        (1_000_000, {}, ccxt.InsufficientFunds),
        (1000, {"reduceOnly": True}, ccxt.InvalidOrder),
        (1000, {"positionSide": "LONG"}, ccxt.OperationRejected),
    ],
)
async def test_ccxt_recognises_the_refusals(venue: Any, quantity: int, params: Any, error: type[Exception]) -> None:
    _, exchange = venue
    await exchange.load_markets()
    with pytest.raises(ccxt.ExchangeError) as caught:
        await exchange.create_order("ADA/USDT:USDT", "market", "buy", quantity, None, params)
    assert type(caught.value) is error


async def test_a_wrong_secret_is_an_authentication_error_of_ccxt(venue: Any) -> None:
    _, exchange = venue
    exchange.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        await exchange.fapiPrivateV3GetBalance()
