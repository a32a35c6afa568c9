"""Answer the signed requests about the account, its positions and its settings."""

from typing import Any

from trader.sim.account import Account, available, initial_margin, liquidation_price, maintenance, unrealised
from trader.sim.desk import Desk
from trader.sim.errors import Refusal, missing
from trader.sim.instruments import bracket_rows
from trader.sim.money import ZERO, q8, text, text8
from trader.sim.records import Position, Setting
from trader.sim.wire import Params, dump


def _totals(desk: Desk, account: Account) -> dict[str, str]:
    venue = desk.venue
    initial = maint = profit = cross_profit = ZERO
    for position in account.positions.values():
        mark, setting = venue.price(position.symbol), account.setting(position.symbol)
        gain = unrealised(position, mark)
        initial += initial_margin(position, mark, setting.leverage)
        maint += maintenance(position, mark, desk.listing.instruments[position.symbol])
        profit += gain
        cross_profit += ZERO if setting.isolated else gain
    free = max(ZERO, available(account, venue.price))
    return {
        "initial": text8(initial),
        "maint": text8(maint),
        "wallet": text8(account.wallet),
        "profit": text8(profit),
        "margin": text8(account.wallet + profit),
        "cross_wallet": text8(account.wallet - account.isolated()),
        "cross_profit": text8(cross_profit),
        "free": text8(free),
    }


def _asset(account: Account, totals: dict[str, str]) -> dict[str, Any]:
    return {
        "asset": "USDT",
        "walletBalance": totals["wallet"],
        "unrealizedProfit": totals["profit"],
        "marginBalance": totals["margin"],
        "maintMargin": totals["maint"],
        "initialMargin": totals["initial"],
        "positionInitialMargin": totals["initial"],
        "openOrderInitialMargin": "0.00000000",
        "crossWalletBalance": totals["cross_wallet"],
        "crossUnPnl": totals["cross_profit"],
        "availableBalance": totals["free"],
        "maxWithdrawAmount": totals["free"],
        "marginAvailable": True,
        "updateTime": account.update_time,
    }


def _account_totals(totals: dict[str, str]) -> dict[str, Any]:
    return {
        "totalInitialMargin": totals["initial"],
        "totalMaintMargin": totals["maint"],
        "totalWalletBalance": totals["wallet"],
        "totalUnrealizedProfit": totals["profit"],
        "totalMarginBalance": totals["margin"],
        "totalPositionInitialMargin": totals["initial"],
        "totalOpenOrderInitialMargin": "0.00000000",
        "totalCrossWalletBalance": totals["cross_wallet"],
        "totalCrossUnPnl": totals["cross_profit"],
        "availableBalance": totals["free"],
        "maxWithdrawAmount": totals["free"],
    }


def account_v3(desk: Desk, params: Params) -> str:
    """Write the account; positions only where there is one."""
    account = desk.view()
    totals = _totals(desk, account)
    rows = []
    for position in account.positions.values():
        full = _position(desk, account, position)
        names = ("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional", "isolatedWallet")
        more = ("initialMargin", "maintMargin", "updateTime")
        row = {name: full[name] for name in names} | {"unrealizedProfit": full["unRealizedProfit"]}
        rows.append(row | {name: full[name] for name in more})
    return dump({**_account_totals(totals), "assets": [_asset(account, totals)], "positions": rows})


def account_v2(desk: Desk, params: Params) -> str:
    """Write the account with a row for every symbol."""
    account = desk.view()
    totals = _totals(desk, account)
    rows = []
    for position in _every_position(desk, account, desk.symbols()):
        full, setting = _position(desk, account, position), account.setting(position.symbol)
        rows.append(
            {
                "symbol": position.symbol,
                "initialMargin": full["initialMargin"],
                "maintMargin": full["maintMargin"],
                "unrealizedProfit": full["unRealizedProfit"],
                "positionInitialMargin": full["initialMargin"],
                "openOrderInitialMargin": "0",
                "leverage": str(setting.leverage),
                "isolated": setting.isolated,
                "entryPrice": full["entryPrice"],
                "breakEvenPrice": full["breakEvenPrice"],
                "maxNotional": _max_notional(desk, setting),
                "positionSide": position.side,
                "positionAmt": full["positionAmt"],
                "notional": full["notional"],
                "isolatedWallet": full["isolatedWallet"],
                "bidNotional": "0",
                "askNotional": "0",
                "updateTime": full["updateTime"],
            }
        )
    head = {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }
    return dump({**head, **_account_totals(totals), "assets": [_asset(account, totals)], "positions": rows})


def balance(desk: Desk, params: Params) -> str:
    """Write the one asset of the account."""
    account = desk.view()
    totals = _totals(desk, account)
    row = {
        "accountAlias": "embedded",
        "asset": "USDT",
        "balance": totals["wallet"],
        "crossWalletBalance": totals["cross_wallet"],
        "crossUnPnl": totals["cross_profit"],
        "availableBalance": totals["free"],
        "maxWithdrawAmount": totals["free"],
        "marginAvailable": True,
        "updateTime": account.update_time,
    }
    return dump([row])


def _position(desk: Desk, account: Account, position: Position) -> dict[str, Any]:
    """Write a position with every number any version of the answers shows."""
    mark, setting = desk.venue.price(position.symbol), account.setting(position.symbol)
    instrument = desk.listing.instruments[position.symbol]
    if position.quantity == 0:
        entry = liquidation = gain = margin = maint = ZERO
    else:
        entry = q8(position.cost / position.quantity)
        gain = unrealised(position, mark)
        liquidation = liquidation_price(account, position, instrument, desk.venue.price)
        margin = initial_margin(position, mark, setting.leverage)
        maint = maintenance(position, mark, instrument)
    return {
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": text(position.quantity),
        "entryPrice": text(entry),
        "breakEvenPrice": text(entry),
        "markPrice": text8(mark),
        "unRealizedProfit": text8(gain),
        "liquidationPrice": text(liquidation),
        "isolatedMargin": text8(position.margin + gain) if setting.isolated and position.quantity else "0",
        "notional": text8(position.quantity * mark),
        "isolatedWallet": text8(position.margin) if setting.isolated and position.quantity else "0",
        "initialMargin": text8(margin),
        "maintMargin": text8(maint),
        "updateTime": position.update_time,
    }


def _every_position(desk: Desk, account: Account, symbols: list[str]) -> list[Position]:
    """List a row for every symbol, empty ones too; in hedge mode three a symbol."""
    sides = ("BOTH", "LONG", "SHORT") if account.dual else ("BOTH",)
    return [account.positions.get((symbol, side)) or Position(symbol, side) for symbol in symbols for side in sides]


def _chosen(desk: Desk, params: Params) -> list[str]:
    return [desk.symbol(params)] if params.get("symbol") else desk.symbols()


def position_risk_v3(desk: Desk, params: Params) -> str:
    """Write the open positions."""
    account, chosen = desk.view(), set(_chosen(desk, params))
    rows = []
    for position in account.positions.values():
        if position.symbol not in chosen:
            continue
        full = _position(desk, account, position)
        extra = {
            "marginAsset": "USDT",
            "positionInitialMargin": full["initialMargin"],
            "openOrderInitialMargin": "0",
            "adl": 0,
            "bidNotional": "0",
            "askNotional": "0",
        }
        rows.append({**full, **extra})
    return dump(rows)


def position_risk_v2(desk: Desk, params: Params) -> str:
    """Write a position for every symbol, empty ones too."""
    account = desk.view()
    rows = []
    for position in _every_position(desk, account, _chosen(desk, params)):
        full, setting = _position(desk, account, position), account.setting(position.symbol)
        full["marginType"] = "isolated" if setting.isolated else "cross"
        full["isAutoAddMargin"] = "false"
        full["leverage"] = str(setting.leverage)
        full["maxNotionalValue"] = _max_notional(desk, setting)
        del full["initialMargin"], full["maintMargin"]
        rows.append(full)
    return dump(rows)


def account_config(desk: Desk, params: Params) -> str:
    """Tell the modes of the account."""
    return dump(
        {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "dualSidePosition": desk.venue.account.dual,
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
        }
    )


def symbol_config(desk: Desk, params: Params) -> str:
    """Tell leverage and margin type of symbols."""
    rows = []
    for symbol in _chosen(desk, params):
        setting = desk.venue.account.setting(symbol)
        rows.append(
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if setting.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": setting.leverage,
                "maxNotionalValue": _max_notional(desk, setting),
            }
        )
    return dump(rows)


def _max_notional(desk: Desk, setting: Setting) -> str:
    return text(desk.listing.instruments[setting.symbol].max_notional(setting.leverage))


def set_leverage(desk: Desk, params: Params) -> str:
    """Change a symbol's leverage; an isolated position keeps the margin it has."""
    symbol, venue = desk.symbol(params), desk.venue
    account, instrument = venue.account, desk.listing.instruments[symbol]
    leverage = params.integer("leverage")
    if leverage is None:
        raise missing("leverage")
    if not 1 <= leverage <= instrument.max_leverage:
        raise Refusal(-4028, f"Leverage {leverage} is not valid")
    setting = account.setting(symbol)
    for position in account.of(symbol):
        mark = venue.price(symbol)
        if setting.isolated and leverage < setting.leverage:
            raise Refusal(-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.")
        if abs(position.quantity) * mark > instrument.max_notional(leverage):
            raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
        change = initial_margin(position, mark, leverage) - initial_margin(position, mark, setting.leverage)
        if not setting.isolated and change > max(ZERO, available(account, venue.price)):
            raise Refusal(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    account.settings[symbol] = changed = Setting(symbol, leverage, setting.isolated)
    desk.whole = True
    return dump({"symbol": symbol, "leverage": leverage, "maxNotionalValue": _max_notional(desk, changed)})


def set_margin_type(desk: Desk, params: Params) -> str:
    """Switch a flat symbol between isolated and cross."""
    symbol = desk.symbol(params)
    wanted = params.text("marginType").upper()
    if wanted not in ("ISOLATED", "CROSSED"):
        raise Refusal(-1130, "Data sent for parameter 'marginType' is not valid.")
    account = desk.venue.account
    setting = account.setting(symbol)
    if setting.isolated == (wanted == "ISOLATED"):
        raise Refusal(-4046, "No need to change margin type.")
    if account.of(symbol):
        raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
    account.settings[symbol] = Setting(symbol, setting.leverage, wanted == "ISOLATED")
    desk.whole = True
    return '{"code":200,"msg":"success"}'


def get_position_mode(desk: Desk, params: Params) -> str:
    """Tell whether hedge mode is on."""
    return dump({"dualSidePosition": desk.venue.account.dual})


def set_position_mode(desk: Desk, params: Params) -> str:
    """Switch a flat account between one-way and hedge mode."""
    account = desk.venue.account
    dual = params.flag("dualSidePosition")
    if dual is None:
        raise missing("dualSidePosition")
    if dual == account.dual:
        raise Refusal(-4059, "No need to change position side.")
    if account.positions:
        raise Refusal(-4068, "Position side cannot be changed if there exists position.")
    account.dual = dual
    return '{"code":200,"msg":"success"}'


def multi_assets(desk: Desk, params: Params) -> str:
    """Tell that multi-assets mode is off."""
    return '{"multiAssetsMargin":false}'


def leverage_bracket(desk: Desk, params: Params) -> str:
    """Write the leverage tables."""
    instruments = desk.listing.instruments
    return dump(
        [
            {"symbol": symbol, "notionalCoef": 1.0, "brackets": bracket_rows(instruments[symbol].brackets)}
            for symbol in _chosen(desk, params)
        ]
    )


def commission_rate(desk: Desk, params: Params) -> str:
    """Tell the fee, the same for makers and takers."""
    fee = text(desk.terms.fee)
    return dump({"symbol": desk.symbol(params), "makerCommissionRate": fee, "takerCommissionRate": fee})


def order_rate_limit(desk: Desk, params: Params) -> str:
    """Tell the order limits."""
    return dump([row for row in desk.listing.rate_limits if row["rateLimitType"] == "ORDERS"])


def api_restrictions(desk: Desk, params: Params) -> str:
    """Tell what the key may do: read and trade futures, nothing else."""
    return dump(
        {
            "ipRestrict": True,
            "createTime": desk.created,
            "enableReading": True,
            "enableSpotAndMarginTrading": False,
            "enableWithdrawals": False,
            "enableInternalTransfer": False,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableMargin": False,
            "enableFutures": True,
            "enablePortfolioMarginTrading": False,
        }
    )
