"""Binance's answers as they must look; anything else is an error, never a zero."""

from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from trader.errors import ExchangeError


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_text), Field(pattern=r"^\d+$")]
Milliseconds = Annotated[int, Field(gt=0)]


class ServerTime(_Model):
    """GET time."""

    server_time: Milliseconds


class RateLimit(_Model):
    """One limit of exchangeInfo."""

    rate_limit_type: str
    interval: str
    interval_num: Annotated[int, Field(gt=0)]
    limit: Annotated[int, Field(gt=0)]


class SymbolInfo(_Model):
    """One symbol of exchangeInfo; filters by their own name. A perpetual that is not to end has a date far away."""

    symbol: str
    status: str
    contract_type: str
    quote_asset: str
    margin_asset: str
    onboard_date: int = 0
    delivery_date: int = 0
    filters: list[dict[str, object]]


class PriceFilter(_Model):
    """PRICE_FILTER; a bound of 0 is none."""

    tick_size: Annotated[Decimal, Field(gt=0)]
    min_price: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    max_price: Annotated[Decimal, Field(ge=0)] = Decimal(0)


class LotFilter(_Model):
    """LOT_SIZE and MARKET_LOT_SIZE; a step of 0 is none."""

    step_size: Annotated[Decimal, Field(ge=0)]
    min_qty: Annotated[Decimal, Field(ge=0)]
    max_qty: Annotated[Decimal, Field(gt=0)]


class NotionalFilter(_Model):
    """MIN_NOTIONAL."""

    notional: Annotated[Decimal, Field(ge=0)]


class PercentFilter(_Model):
    """PERCENT_PRICE, of the mark price."""

    multiplier_up: Annotated[Decimal, Field(gt=0)]
    multiplier_down: Annotated[Decimal, Field(ge=0)]


class CountFilter(_Model):
    """MAX_NUM_ORDERS; a limit of 0, as symbols that are being settled have, is none."""

    limit: Annotated[int, Field(ge=0)]


class ExchangeInfo(_Model):
    """GET exchangeInfo; symbols are looked at one by one."""

    rate_limits: list[RateLimit]
    symbols: Annotated[list[dict[str, object]], Field(min_length=1)]


class BracketRow(_Model):
    """One leverage bracket; some captures give numbers as strings."""

    initial_leverage: Annotated[int, Field(gt=0)]
    notional_floor: Annotated[Decimal, Field(ge=0)]
    notional_cap: Annotated[Decimal, Field(gt=0)]
    maint_margin_ratio: Annotated[Decimal, Field(ge=0)]
    cum: Decimal


class SymbolBrackets(_Model):
    """One symbol of leverageBracket."""

    symbol: str
    brackets: Annotated[list[BracketRow], Field(min_length=1)]


class PremiumIndex(_Model):
    """GET premiumIndex of one symbol."""

    symbol: str
    mark_price: Annotated[Decimal, Field(gt=0)]
    last_funding_rate: Decimal | None = None


class AssetRow(_Model):
    """One asset of the account."""

    asset: str
    wallet_balance: Decimal


class PositionRow(_Model):
    """One position of the account; it carries no entry price."""

    symbol: str
    position_side: str
    position_amt: Decimal
    unrealized_profit: Decimal
    notional: Decimal


class AccountAnswer(_Model):
    """GET account, version 3."""

    total_margin_balance: Decimal
    available_balance: Decimal
    assets: list[AssetRow]
    positions: list[PositionRow]


class AccountConfig(_Model):
    """GET accountConfig."""

    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool


class FeeBurn(_Model):
    """GET feeBurn."""

    fee_burn: bool


class ApiRestrictions(_Model):
    """GET apiRestrictions, of the spot host: what the key may do."""

    ip_restrict: bool
    enable_reading: bool
    enable_futures: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool


class SymbolConfig(_Model):
    """One symbol of symbolConfig."""

    symbol: str
    margin_type: Literal["ISOLATED", "CROSSED"]
    leverage: Annotated[int, Field(gt=0)]


class LeverageAnswer(_Model):
    """POST leverage."""

    symbol: str
    leverage: int


class OrderAnswer(_Model):
    """POST or GET order; `avg_price` may be missing right after the order."""

    order_id: Id
    client_order_id: Annotated[str, Field(min_length=1)]
    symbol: str
    status: Annotated[str, Field(min_length=1)]
    side: str
    orig_qty: Annotated[Decimal, Field(ge=0)]
    executed_qty: Annotated[Decimal, Field(ge=0)]
    avg_price: Decimal = Decimal(0)
    reduce_only: bool
    update_time: Milliseconds


class AlgoOrderAnswer(_Model):
    """One conditional order at rest."""

    algo_id: Id
    client_algo_id: str
    symbol: str
    algo_status: str
    side: str
    quantity: Decimal = Decimal(0)
    reduce_only: bool = False
    create_time: Milliseconds


class StopAnswer(_Model):
    """POST or GET algoOrder of a stop; `actual_order_id` is empty until it triggers, and not told by a POST."""

    algo_id: Id
    client_algo_id: Annotated[str, Field(min_length=1)]
    symbol: str
    algo_status: Annotated[str, Field(min_length=1)]
    side: str
    trigger_price: Annotated[Decimal, Field(gt=0)]
    close_position: bool
    actual_order_id: Annotated[str, BeforeValidator(_text)] = ""
    update_time: Milliseconds


class TradeRow(_Model):
    """One trade of ours."""

    id: Id
    order_id: Id
    symbol: str
    side: str
    qty: Annotated[Decimal, Field(gt=0)]
    price: Annotated[Decimal, Field(gt=0)]
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    time: Milliseconds


class IncomeRow(_Model):
    """One booking; `symbol` and `trade_id` are empty where they mean nothing."""

    tran_id: Id
    income_type: Annotated[str, Field(min_length=1)]
    symbol: str = ""
    income: Decimal
    asset: str
    time: Milliseconds
    trade_id: Annotated[str, BeforeValidator(_text)] = ""


T = TypeVar("T")


class FundingRow(_Model):
    """One stamp of fundingRate; a positive rate is paid by longs."""

    symbol: str
    funding_time: Milliseconds
    funding_rate: Decimal
    mark_price: Annotated[Decimal, Field(gt=0)]


class FundingStamp(_Model):
    """What is read of a stamp of long ago, whose mark price the exchange tells as an empty text."""

    symbol: str
    funding_time: Milliseconds
    funding_rate: Decimal


class FundingInfo(_Model):
    """One symbol of fundingInfo, which names those that are not settled every eight hours."""

    symbol: str
    funding_interval_hours: Annotated[int, Field(gt=0)]


Row = list[object]

EXCHANGE_INFO = TypeAdapter(ExchangeInfo)
SERVER_TIME = TypeAdapter(ServerTime)
PREMIUM_INDEX = TypeAdapter(PremiumIndex)
ROWS_OF_OBJECTS = TypeAdapter(list[dict[str, object]])
BRACKETS = TypeAdapter(list[SymbolBrackets])
ACCOUNT = TypeAdapter(AccountAnswer)
API_RESTRICTIONS = TypeAdapter(ApiRestrictions)
ACCOUNT_CONFIG = TypeAdapter(AccountConfig)
FEE_BURN = TypeAdapter(FeeBurn)
SYMBOL_CONFIGS = TypeAdapter(list[SymbolConfig])
LEVERAGE = TypeAdapter(LeverageAnswer)
ORDER = TypeAdapter(OrderAnswer)
ORDERS = TypeAdapter(list[OrderAnswer])
ALGO_ORDERS = TypeAdapter(list[AlgoOrderAnswer])
STOP = TypeAdapter(StopAnswer)
TRADES = TypeAdapter(list[TradeRow])
FUNDINGS = TypeAdapter(list[FundingRow])
FUNDING_STAMPS = TypeAdapter(list[FundingStamp])
FUNDING_INFOS = TypeAdapter(list[FundingInfo])
INCOMES = TypeAdapter(list[IncomeRow])
# what is in a row is looked at where it is read; to look here would copy every row of a burst
ROWS: TypeAdapter[list[Row]] = TypeAdapter(list[InstanceOf[list]])  # type: ignore[type-arg]
EMPTY = TypeAdapter(dict[str, object])
SYMBOL = TypeAdapter(SymbolInfo)
PRICE_FILTER = TypeAdapter(PriceFilter)
LOT_FILTER = TypeAdapter(LotFilter)
NOTIONAL_FILTER = TypeAdapter(NotionalFilter)
PERCENT_FILTER = TypeAdapter(PercentFilter)
COUNT_FILTER = TypeAdapter(CountFilter)


def read(adapter: TypeAdapter[T], raw: object, where: str) -> T:
    """Return a raw answer as what it must be.

    Raises:
        ExchangeError: it is not; the message names the fields and shows no content.
    """
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole answer"
        problem = f"{where} answered something incomplete ({field}: {first['msg']}); it is not used."
    raise ExchangeError(problem)
