"""Answer the signed requests about the account and its positions."""

from decimal import Decimal
from typing import Any

from trader.sim.account import Account, available, cushion, initial_margin, liquidation_price, maintenance, unrealised
from trader.sim.desk import Desk
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
    reserved = venue.reserved() if venue.open else ZERO
    free = max(ZERO, available(account, venue.price, reserved=reserved))
    return {
        "initial": text8(initial + reserved),
        "held": text8(initial),
        "orders": text8(reserved),
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
        "positionInitialMargin": totals["held"],
        "openOrderInitialMargin": totals["orders"],
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
        "totalPositionInitialMargin": totals["held"],
        "totalOpenOrderInitialMargin": totals["orders"],
        "totalCrossWalletBalance": totals["cross_wallet"],
        "totalCrossUnPnl": totals["cross_profit"],
        "availableBalance": totals["free"],
        "maxWithdrawAmount": totals["free"],
    }


def account_v3(desk: Desk, params: Params) -> str:
    """Write the account; positions only where there is one."""
    account = desk.view()
    totals, left = _totals(desk, account), _cushion(desk, account)
    rows = []
    for position in account.positions.values():
        full = _position(desk, account, position, left)
        names = ("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional", "isolatedWallet")
        more = ("initialMargin", "maintMargin", "updateTime")
        row = {name: full[name] for name in names} | {"unrealizedProfit": full["unRealizedProfit"]}
        rows.append(row | {name: full[name] for name in more})
    return dump({**_account_totals(totals), "assets": [_asset(account, totals)], "positions": rows})


def account_v2(desk: Desk, params: Params) -> str:
    """Write the account with a row for every symbol."""
    account = desk.view()
    totals, left = _totals(desk, account), _cushion(desk, account)
    rows = []
    for position in _every_position(desk, account, desk.symbols()):
        full, setting = _position(desk, account, position, left), account.setting(position.symbol)
        waiting = _waiting(desk, position)
        rows.append(
            {
                "symbol": position.symbol,
                "initialMargin": full["initialMargin"],
                "maintMargin": full["maintMargin"],
                "unrealizedProfit": full["unRealizedProfit"],
                "positionInitialMargin": full["initialMargin"],
                "openOrderInitialMargin": waiting["openOrderInitialMargin"],
                "leverage": str(setting.leverage),
                "isolated": setting.isolated,
                "entryPrice": full["entryPrice"],
                "breakEvenPrice": full["breakEvenPrice"],
                "maxNotional": max_notional(desk, setting),
                "positionSide": position.side,
                "positionAmt": full["positionAmt"],
                "notional": full["notional"],
                "isolatedWallet": full["isolatedWallet"],
                "bidNotional": waiting["bidNotional"],
                "askNotional": waiting["askNotional"],
                "updateTime": full["updateTime"],
            }
        )
    head = {
        "feeTier": 0,
        "feeBurn": desk.switches.fee_burn,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": account.multi_assets,
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


def _position(desk: Desk, account: Account, position: Position, left: Decimal) -> dict[str, Any]:
    """Write a position with every number any version of the answers shows; ``left`` is the account's cushion."""
    mark, setting = desk.venue.price(position.symbol), account.setting(position.symbol)
    instrument = desk.listing.instruments[position.symbol]
    if position.quantity == 0:
        entry = liquidation = gain = margin = maint = ZERO
    else:
        entry = q8(position.cost / position.quantity)
        gain = unrealised(position, mark)
        liquidation = liquidation_price(account, position, instrument, desk.venue.price, left)
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


def _cushion(desk: Desk, account: Account) -> Decimal:
    return cushion(account, desk.listing.instruments, desk.venue.price)


def _waiting(desk: Desk, position: Position) -> dict[str, str]:
    """Write what resting orders would open, and what that binds."""
    bids, asks = (desk.venue.opening(position.symbol, direction, position.side)[1] for direction in (1, -1))
    margin = q8(max(bids, asks) / desk.venue.account.setting(position.symbol).leverage)
    return {"openOrderInitialMargin": text(margin), "bidNotional": text(bids), "askNotional": text(asks)}


def _every_position(desk: Desk, account: Account, symbols: list[str]) -> list[Position]:
    """List a row for every symbol, empty ones too; in hedge mode three a symbol."""
    sides = ("BOTH", "LONG", "SHORT") if account.dual else ("BOTH",)
    return [account.positions.get((symbol, side)) or Position(symbol, side) for symbol in symbols for side in sides]


def chosen(desk: Desk, params: Params) -> list[str]:
    """List the symbol asked for, or all."""
    return [desk.symbol(params)] if params.get("symbol") else desk.symbols()


def position_risk_v3(desk: Desk, params: Params) -> str:
    """Write the open positions."""
    account, wanted = desk.view(), set(chosen(desk, params))
    rows, left = [], _cushion(desk, account)
    for position in account.positions.values():
        if position.symbol not in wanted:
            continue
        full = _position(desk, account, position, left)
        extra = {
            "marginAsset": "USDT",
            "positionInitialMargin": full["initialMargin"],
            "adl": 0,
            **_waiting(desk, position),
        }
        rows.append({**full, **extra})
    return dump(rows)


def position_risk_v2(desk: Desk, params: Params) -> str:
    """Write a position for every symbol, empty ones too."""
    account = desk.view()
    rows, left = [], _cushion(desk, account)
    for position in _every_position(desk, account, chosen(desk, params)):
        full, setting = _position(desk, account, position, left), account.setting(position.symbol)
        full["marginType"] = "isolated" if setting.isolated else "cross"
        full["isAutoAddMargin"] = "false"
        full["leverage"] = str(setting.leverage)
        full["maxNotionalValue"] = max_notional(desk, setting)
        del full["initialMargin"], full["maintMargin"]
        rows.append(full)
    return dump(rows)


def max_notional(desk: Desk, setting: Setting) -> str:
    """Write the largest position that a symbol's leverage allows."""
    return text(desk.listing.instruments[setting.symbol].max_notional(setting.leverage))


def withdrawable(desk: Desk) -> Decimal:
    """Give what could leave the wallet now."""
    venue = desk.venue
    return max(ZERO, available(venue.account, venue.price, reserved=venue.reserved() if venue.open else ZERO))


def adl_quantile(desk: Desk, params: Params) -> str:
    """Tell the place in the queue of auto-deleveraging: always the last, since no other trader is played."""
    held = {position.symbol for position in desk.view().positions.values()}
    dual = desk.venue.account.dual
    place = {"LONG": 0, "SHORT": 0, "HEDGE": 0} if dual else {"LONG": 0, "SHORT": 0, "BOTH": 0}
    return dump([{"symbol": symbol, "adlQuantile": place} for symbol in chosen(desk, params) if symbol in held])
