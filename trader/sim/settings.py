"""Answer the signed requests about what the account is set to, and what key and brackets allow."""

from trader.sim.account import available, initial_margin
from trader.sim.desk import Desk
from trader.sim.errors import Refusal, missing
from trader.sim.instruments import bracket_rows
from trader.sim.money import ZERO, text
from trader.sim.private import chosen, max_notional
from trader.sim.records import Setting
from trader.sim.wire import Params, dump


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
            "multiAssetsMargin": desk.venue.account.multi_assets,
            "tradeGroupId": -1,
        }
    )


def symbol_config(desk: Desk, params: Params) -> str:
    """Tell leverage and margin type of symbols."""
    rows = []
    for symbol in chosen(desk, params):
        setting = desk.venue.account.setting(symbol)
        rows.append(
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if setting.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": setting.leverage,
                "maxNotionalValue": max_notional(desk, setting),
            }
        )
    return dump(rows)


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
        if not setting.isolated and change > max(ZERO, available(account, venue.price, reserved=venue.reserved())):
            raise Refusal(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    account.settings[symbol] = changed = Setting(symbol, leverage, setting.isolated)
    desk.whole = True
    return dump({"symbol": symbol, "leverage": leverage, "maxNotionalValue": max_notional(desk, changed)})


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
    if account.multi_assets and wanted == "ISOLATED":
        raise Refusal(-4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode.")
    if any(order.symbol == symbol for order in desk.venue.open.values()):
        raise Refusal(-4047, "Margin type cannot be changed if there exists open orders.")
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
    if desk.venue.open or desk.venue.waiting:
        raise Refusal(-4067, "Position side cannot be changed if there exists open orders.")
    if account.positions:
        raise Refusal(-4068, "Position side cannot be changed if there exists position.")
    account.dual = dual
    return '{"code":200,"msg":"success"}'


def multi_assets(desk: Desk, params: Params) -> str:
    """Tell whether multi-assets mode is on."""
    return dump({"multiAssetsMargin": desk.venue.account.multi_assets})


def set_multi_assets(desk: Desk, params: Params) -> str:
    """Switch multi-assets mode; it knows no isolated margin, and the one asset here is USDT either way."""
    account = desk.venue.account
    wanted = params.flag("multiAssetsMargin")
    if wanted is None:
        raise missing("multiAssetsMargin")
    if wanted == account.multi_assets:
        raise Refusal(-4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.")
    if desk.venue.open:
        raise Refusal(-4170, "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.")
    if wanted and any(setting.isolated for setting in account.settings.values()):
        raise Refusal(
            -4167,
            "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
        )
    account.multi_assets = wanted
    return '{"code":200,"msg":"success"}'


def fee_burn(desk: Desk, params: Params) -> str:
    """Tell whether fees are paid in BNB."""
    return dump({"feeBurn": desk.switches.fee_burn})


def set_fee_burn(desk: Desk, params: Params) -> str:
    """Switch paying fees in BNB on or off; what is paid already stays."""
    wanted = params.flag("feeBurn")
    if wanted is None:
        raise missing("feeBurn")
    desk.switches.fee_burn = wanted
    desk.apply_switches()
    return '{"code":200,"msg":"success"}'


def leverage_bracket(desk: Desk, params: Params) -> str:
    """Write the leverage tables."""
    instruments = desk.listing.instruments
    return dump(
        [
            {"symbol": symbol, "notionalCoef": 1.0, "brackets": bracket_rows(instruments[symbol].brackets)}
            for symbol in chosen(desk, params)
        ]
    )


def commission_rate(desk: Desk, params: Params) -> str:
    """Tell the fees."""
    symbol, fees = desk.symbol(params), desk.venue.fees
    maker, taker = fees.get(symbol) or fees.get("") or (desk.terms.fee, desk.terms.fee)
    return dump(
        {
            "symbol": symbol,
            "makerCommissionRate": text(maker),
            "takerCommissionRate": text(taker),
            "rpiCommissionRate": text(maker),
        }
    )


def order_rate_limit(desk: Desk, params: Params) -> str:
    """Tell the order limits."""
    return dump([row for row in desk.listing.rate_limits if row["rateLimitType"] == "ORDERS"])


def api_restrictions(desk: Desk, params: Params) -> str:
    """Tell what the key may do: read and trade futures, nothing else, unless a control call said otherwise."""
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
            **desk.switches.rights,
        }
    )
