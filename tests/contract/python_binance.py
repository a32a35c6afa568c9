"""Talk to an embedded exchange with python-binance; run by its own interpreter, prints one JSON line."""

import json
import sys
import warnings


def main(port: str, key: str, secret: str) -> None:
    """Read the market and the account, trade, rest, guard and cancel."""
    from binance.client import Client

    warnings.simplefilter("error")  # its own imports are out of date
    client = Client(key, secret, ping=False)
    client.FUTURES_URL = f"https://localhost:{port}/fapi"
    symbol = client.futures_exchange_info()["symbols"][0]["symbol"]
    price = float(client.futures_mark_price(symbol=symbol)["markPrice"])
    candles = client.futures_klines(symbol=symbol, interval="8h", limit=5)
    client.futures_change_leverage(symbol=symbol, leverage=2)
    client.futures_change_margin_type(symbol=symbol, marginType="ISOLATED")
    order = client.futures_create_order(
        symbol=symbol, side="BUY", type="MARKET", quantity=100, newOrderRespType="RESULT", newClientOrderId="pb-1"
    )
    resting = client.futures_create_order(
        symbol=symbol, side="BUY", type="LIMIT", quantity=100, timeInForce="GTC", price=f"{price * 0.95:.4f}"
    )
    cancelled = client.futures_cancel_order(symbol=symbol, orderId=resting["orderId"])
    stop = client.futures_create_algo_order(
        symbol=symbol, side="SELL", type="STOP_MARKET", closePosition="true", triggerPrice=f"{price * 0.9:.4f}"
    )
    guards = client.futures_get_open_algo_orders(symbol=symbol)
    client.futures_cancel_all_algo_open_orders(symbol=symbol)
    position = client.futures_position_information(symbol=symbol)[0]
    sys.stdout.write(
        json.dumps(
            {
                "candles": len(candles),
                "status": [order["status"], resting["status"], cancelled["status"], stop["algoStatus"]],
                "guards": [row["algoId"] for row in guards] == [stop["algoId"]],
                "position": position["positionAmt"],
                "trades": [row["orderId"] for row in client.futures_account_trades(symbol=symbol)]
                == [order["orderId"]],
                "fee": client.futures_income_history(incomeType="COMMISSION")[0]["asset"],
                "balance": client.futures_account_balance()[0]["asset"],
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
