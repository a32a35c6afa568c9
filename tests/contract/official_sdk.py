"""Talk to an embedded exchange with the official SDK; run by its own interpreter, prints one JSON line.

Every answer is read into the SDK's typed models, and any warning is an error, because a mismatch there only warns.
"""

import json
import logging
import sys
import warnings
from typing import Any

warnings.simplefilter("error")
ORDER = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": 100}
RESTING = {"symbol": "ADAUSDT", "side": "BUY", "type": "LIMIT", "quantity": 100, "time_in_force": "GTC"}
STOP = {
    "algo_type": "CONDITIONAL",
    "symbol": "ADAUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "close_position": "true",
}
FRACTIONS = {"sdk-2": ("price", 0.95), "sdk-3": ("trigger_price", 0.9)}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("check_server_time", {}),
    ("exchange_information", {}),
    ("kline_candlestick_data", {"symbol": "ADAUSDT", "interval": "8h", "limit": 5}),
    ("mark_price", {"symbol": "ADAUSDT"}),
    ("symbol_order_book_ticker", {"symbol": "ADAUSDT"}),
    ("get_funding_rate_history", {"symbol": "ADAUSDT"}),
    ("account_information_v2", {}),
    ("account_information_v3", {}),
    ("futures_account_balance_v2", {}),
    ("futures_account_balance_v3", {}),
    ("position_information_v2", {}),
    ("futures_account_configuration", {}),
    ("symbol_configuration", {}),
    ("notional_and_leverage_brackets", {}),
    ("user_commission_rate", {"symbol": "ADAUSDT"}),
    ("change_initial_leverage", {"symbol": "ADAUSDT", "leverage": 2}),
    ("test_order", ORDER),
    ("new_order", ORDER | {"new_client_order_id": "sdk-1", "new_order_resp_type": "RESULT"}),
    ("query_order", {"symbol": "ADAUSDT", "orig_client_order_id": "sdk-1"}),
    ("current_all_open_orders", {}),
    ("all_orders", {"symbol": "ADAUSDT"}),
    ("account_trade_list", {"symbol": "ADAUSDT"}),
    ("get_income_history", {}),
    ("position_information_v3", {}),
    ("new_order", RESTING | {"new_client_order_id": "sdk-2", "new_order_resp_type": "RESULT"}),
    ("query_current_open_order", {"symbol": "ADAUSDT", "orig_client_order_id": "sdk-2"}),
    ("current_all_open_orders", {"symbol": "ADAUSDT"}),
    ("cancel_order", {"symbol": "ADAUSDT", "orig_client_order_id": "sdk-2"}),
    ("cancel_all_open_orders", {"symbol": "ADAUSDT"}),
    ("new_algo_order", STOP | {"client_algo_id": "sdk-3"}),
    ("query_algo_order", {"client_algo_id": "sdk-3"}),
    ("current_all_algo_open_orders", {}),
    ("query_all_algo_orders", {"symbol": "ADAUSDT"}),
    ("cancel_algo_order", {"client_algo_id": "sdk-3"}),
    ("cancel_all_algo_open_orders", {"symbol": "ADAUSDT"}),
    ("users_force_orders", {}),
    ("position_adl_quantile_estimation", {}),
    ("get_current_position_mode", {}),
    ("get_current_multi_assets_mode", {}),
    ("change_multi_assets_mode", {"multi_assets_margin": "true"}),
    ("query_user_rate_limit", {}),
    ("symbol_price_ticker", {"symbol": "ADAUSDT"}),
    ("ticker24hr_price_change_statistics", {"symbol": "ADAUSDT"}),
]


class Heard(logging.Handler):
    """Remember what the SDK logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def main(port: str, key: str, secret: str) -> None:
    """Make every call and print what came of it."""
    from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
        ConfigurationRestAPI,
        DerivativesTradingUsdsFutures,
    )

    heard = Heard()
    logging.getLogger().addHandler(heard)
    configuration = ConfigurationRestAPI(api_key=key, api_secret=secret, base_path=f"https://localhost:{port}")
    client = DerivativesTradingUsdsFutures(config_rest_api=configuration).rest_api
    told: dict[str, Any] = {}
    for name, parameters in CALLS:
        prices = [FRACTIONS[each] for each in parameters.values() if each in FRACTIONS and name.startswith("new_")]
        more = {key: round(share * float(told["mark_price"].actual_instance.mark_price), 4) for key, share in prices}
        told[name if name not in told else f"{name}_again"] = getattr(client, name)(**parameters, **more).data()
    order, trade = told["query_order"], told["account_trade_list"][0]
    sys.stdout.write(
        json.dumps(
            {
                "calls": len(told),
                "warnings": heard.lines,
                "status": order.status,
                "executed": order.executed_qty,
                "client_id": order.client_order_id,
                "position": told["position_information_v3"][0].position_amt,
                "same_order": trade.order_id == order.order_id,
                "resting": told["query_current_open_order"].status,
                "cancelled": told["cancel_order"].status,
                "stop": told["query_algo_order"].algo_status,
                "wallet": told["account_information_v3"].total_wallet_balance,
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
