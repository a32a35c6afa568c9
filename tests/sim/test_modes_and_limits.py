"""Modes of the account, several symbols on one wallet, and what happens to clients that ask too much."""

import json
from decimal import Decimal
from typing import Any

import polars as pl

D = Decimal
NOTHING: dict[str, Any] = {"fee": D(0), "slippage": D(0), "spread": D(0)}
DUAL, MULTI, MARGIN = "/fapi/v1/positionSide/dual", "/fapi/v1/multiAssetsMargin", "/fapi/v1/marginType"


def two(market: Any, *pairs: tuple[float, float]) -> pl.DataFrame:
    frames = [market.candles(market.steps(*prices), symbol=name) for name, prices in
              zip(("ADAUSDT", "XRPUSDT"), zip(*pairs, strict=True), strict=True)]  # fmt: skip
    return pl.concat(frames)


def test_one_wallet_carries_the_cross_positions_of_all_symbols(open_market: Any, market: Any) -> None:
    client = open_market(two(market, (0.5, 0.6), (0.55, 0.54), (0.5501, 0.5401)), equity=D(1000), **NOTHING)
    client.order("BUY", 10_000)  # 5000 at 20x binds 250
    client.order("BUY", 10_000, symbol="XRPUSDT")  # 6000 binds 300
    assert client.read("/fapi/v3/account")["availableBalance"] == "450.00000000"
    client.advance(1)  # +500 and -600
    account = client.read("/fapi/v2/account")
    assert (account["totalMarginBalance"], account["totalUnrealizedProfit"]) == ("900.00000000", "-100.00000000")
    assert D(account["totalMaintMargin"]) == sum((D(row["maintMargin"]) for row in account["positions"]), D(0))
    assert D(account["totalMaintMargin"]) == D("55") + D("54")


def test_cross_positions_fall_together_when_the_sum_misses_its_maintenance(open_market: Any, market: Any) -> None:
    client = open_market(two(market, (0.5, 0.6), (0.55, 0.45), (0.5501, 0.4501)), equity=D(1000), **NOTHING)
    client.order("BUY", 10_000)
    client.order("BUY", 10_000, symbol="XRPUSDT")
    client.advance(1)  # +500 and -1500
    assert client.read("/fapi/v3/positionRisk") == []
    assert client.wallet == 0
    names = {(row["symbol"], row["client_id"][:10]) for row in client.ledger()["orders"][2:]}
    assert names == {("ADAUSDT", "autoclose-"), ("XRPUSDT", "autoclose-")}


def test_the_liquidation_price_of_a_cross_position_counts_the_others_profit_and_maintenance(
    open_market: Any, market: Any
) -> None:
    client = open_market(two(market, (0.5, 0.6), (0.55, 0.5501)), equity=D(1000), **NOTHING)
    client.order("BUY", 10_000)
    client.order("SELL", 5_000, symbol="XRPUSDT")
    client.advance(1)  # +500 and +249.5
    rows = {row["symbol"]: row for row in client.read("/fapi/v3/positionRisk")}
    for symbol, row in rows.items():
        reached, held = D(row["liquidationPrice"]), D(row["positionAmt"])
        profit = held * (reached - D(row["entryPrice"]))
        profit += sum(D(one["unRealizedProfit"]) for name, one in rows.items() if name != symbol)
        needed = abs(held) * reached * D("0.01")  # the first bracket
        needed += sum(D(one["maintMargin"]) for name, one in rows.items() if name != symbol)
        assert abs(1000 + profit - needed) < D("0.001"), symbol
    assert 0 < D(rows["ADAUSDT"]["liquidationPrice"]) < D("0.55")
    assert D(rows["XRPUSDT"]["liquidationPrice"]) > D("0.5501")


def test_an_isolated_liquidation_leaves_the_other_symbols_alone(open_market: Any, market: Any) -> None:
    client = open_market(two(market, (0.5, 0.6), (0.3, 0.6), (0.3001, 0.6001)), **NOTHING)
    client.isolate(5)
    client.order("BUY", 1000)
    client.order("BUY", 1000, symbol="XRPUSDT")
    client.advance(1)
    assert [row["symbol"] for row in client.read("/fapi/v3/positionRisk")] == ["XRPUSDT"]
    assert client.wallet == D(9900)


def test_hedge_mode_holds_both_sides_and_closes_each_by_its_own(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), **NOTHING)
    client.post(DUAL, dualSidePosition="true")
    client.order("BUY", 1000, positionSide="LONG")
    client.order("SELL", 400, positionSide="SHORT")
    rows = {row["positionSide"]: row["positionAmt"] for row in client.read("/fapi/v3/positionRisk")}
    assert rows == {"LONG": "1000", "SHORT": "-400"}
    assert client.refused_order("SELL", 1001, positionSide="LONG") == -2022
    assert client.refused_order("BUY", 401, positionSide="SHORT") == -2022
    client.advance(1)
    client.order("SELL", 1000, positionSide="LONG")
    client.order("BUY", 400, positionSide="SHORT")
    assert client.wallet == D(10060)
    assert len(client.read("/fapi/v2/positionRisk", symbol="ADAUSDT")) == 3
    assert client.read("/fapi/v1/adlQuantile") == []


def test_modes_do_not_change_under_open_orders(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.limit("BUY", 1000, "0.49")
    assert client.refused("POST", DUAL, dualSidePosition="true") == -4067
    assert client.refused("POST", MARGIN, symbol="ADAUSDT", marginType="ISOLATED") == -4047
    assert client.refused("POST", MULTI, multiAssetsMargin="true") == -4170


def test_multi_assets_mode_and_isolated_margin_exclude_each_other(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.refused("POST", MULTI, multiAssetsMargin="false") == -4171
    assert client.post(MULTI, multiAssetsMargin="true") == {"code": 200, "msg": "success"}
    assert client.read(MULTI) == {"multiAssetsMargin": True}
    assert client.refused("POST", MARGIN, symbol="ADAUSDT", marginType="ISOLATED") == -4168
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    client = open_market(market.steps(0.5, 0.5001))
    assert client.read("/fapi/v2/account")["multiAssetsMargin"] is True
    client.post(MULTI, multiAssetsMargin="false")
    client.isolate(5)
    assert client.refused("POST", MULTI, multiAssetsMargin="true") == -4167


def test_who_does_not_back_off_is_banned_each_time_for_longer(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    minute = 60_000
    for length in (2, 10, 60):
        begin = client.exchange.venue.now // minute * minute + minute
        client.exchange.advance(begin)
        for _ in range(80):
            client.read("/fapi/v1/income")
        answers = [client.raw("GET", "/fapi/v1/ping") for _ in range(12)]
        assert [status for status, _ in answers] == [429] * 10 + [418] * 2
        until = client.ledger()["banned_until"]
        assert until == client.exchange.venue.now - 1 + length * minute
        assert answers[-1][1]["msg"].startswith(f"Way too many requests; IP(127.0.0.1) banned until {until}.")
        assert client.headers["Retry-After"] == str(length * 60)
        if length == 60:
            return
        client.exchange.advance(until - 2)
        assert client.raw("GET", "/fapi/v1/ping")[0] == 418
        assert client.get("/fapi/v1/ping") == {}


def test_limits_are_those_of_exchange_info(open_market: Any, market: Any, tmp_path: Any) -> None:
    info = open_market(market.steps(0.5, 0.5001), folder="first").get("/fapi/v1/exchangeInfo")
    info["rateLimits"] = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 3},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 1},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 5},
    ]
    (tmp_path / "instruments.json").write_text(json.dumps(info))
    client = open_market(market.steps(0.5, 0.5001), instruments=tmp_path / "instruments.json")
    client.order("BUY", 1000)
    assert client.refused_order() == -1015
    assert [client.raw("GET", "/fapi/v1/ping")[0] for _ in range(4)] == [200, 200, 200, 429]


def test_a_portfolio_of_two_hundred_symbols_is_listed_and_traded(open_market: Any, market: Any) -> None:
    names = [f"S{number:03}USDT" for number in range(200)]
    frames = [market.candles(market.steps(*[0.5 + number / 1000] * 3, 0.7001), symbol=name, minutes=1440)
              for number, name in enumerate(names)]  # fmt: skip
    client = open_market(pl.concat(frames), begin=market.T0 + 24 * market.HOUR)
    shown = client.get("/fapi/v1/exchangeInfo")["symbols"]
    assert [row["symbol"] for row in shown] == names
    for name in names[::20]:
        rows = client.get("/fapi/v1/klines", symbol=name, interval="1d", limit=99)
        assert len(rows) == 2
        client.order("BUY", 100, symbol=name)
    client.advance(48)
    assert len(client.read("/fapi/v3/positionRisk")) == 10
    assert len(client.read("/fapi/v2/positionRisk")) == 200
