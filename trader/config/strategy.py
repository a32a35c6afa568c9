"""The strategy file."""

import tomllib
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from trader.config.refusals import first
from trader.config.sections import Fraction, Positive, RiskSettings, Section
from trader.domain.decision import Rebalance
from trader.domain.interval import Interval
from trader.errors import ConfigError


def interval_text(text: str) -> str:
    """Return an interval as it is written; raises ValueError, as pydantic wants it."""
    try:
        return str(Interval.parse(text))
    except ConfigError as error:
        raise ValueError(str(error)) from error


class PolicySection(Section):
    """From forecast to direction.

    `sign` follows the sign of the forecast, and keeps the present side where the forecast is below `threshold` (a log
    return, or of a recurrent model a difference of probabilities). `proportional` holds as much of the exposure as the
    difference of the two probabilities, and nothing below the threshold; only a recurrent model says two.
    """

    kind: Literal["sign", "proportional"] = "sign"
    threshold: float = Field(0.0, ge=0, allow_inf_nan=False)


class AllocationSection(Section):
    """From direction to size.

    `exposure` is the target notional over equity, `leverage` the exchange's setting, strictly greater so that fee and
    price move find margin; `cap` bounds the share of one symbol. `rebalance` is `drift` (an unchanged side is left
    alone until it has drifted by more than `band`, a fraction of the target) or `every_close` (it is closed and opened
    anew). `sizing` is `compounding` (shares of the equity) or `constant` (the same shares of `capital`, in USDT).
    """

    exposure: Positive = Decimal("0.5")
    leverage: int = Field(2, ge=1, le=125)
    margin_mode: Literal["isolated", "cross"] = "isolated"
    rebalance: Rebalance = "drift"
    band: float = Field(0.25, ge=0, allow_inf_nan=False)
    sizing: Literal["compounding", "constant"] = "compounding"
    capital: Positive | None = None
    cap: Positive | None = None

    @model_validator(mode="after")
    def _margin_left(self) -> Self:
        if self.leverage <= self.exposure:
            raise ValueError(
                f"leverage ({self.leverage}) must be greater than exposure ({self.exposure}), or fee and price move "
                "find no margin"
            )
        return self

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if self.sizing == "constant" and self.capital is None:
            raise ValueError("constant sizing needs a capital, in USDT, of which every trade is a share")
        if self.sizing == "compounding" and self.capital is not None:
            raise ValueError("a capital is for constant sizing only; compounding shares the equity")
        return self


class ExecutionSection(Section):
    """How orders are sent.

    A `marketable_limit` order fills at once at no worse than `max_slippage` from the mark price, a fraction, or not at
    all; a `market` order at any price. `top_up` sends once more what a partial fill left; `smaller` is the share of an
    order that is sent once more where the margin does not suffice, 0 for standing aside until the next close.
    """

    order_type: Literal["market", "marketable_limit"] = "market"
    max_slippage: Fraction = Decimal("0.003")
    top_up: bool = True
    smaller: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)

    @property
    def bound(self) -> Decimal | None:
        """The slippage an order may have, None where it is not bounded."""
        return self.max_slippage if self.order_type == "marketable_limit" else None


class StrategyFile(Section):
    """A strategy as written in a TOML file."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    kind: Literal["ar", "gru"]
    symbol: str = Field(min_length=1, max_length=40)
    interval: Annotated[str, AfterValidator(interval_text)]
    model: str = Field(min_length=1)
    policy: PolicySection = PolicySection()
    allocation: AllocationSection = AllocationSection()
    execution: ExecutionSection = ExecutionSection()
    risk: RiskSettings = RiskSettings()

    @model_validator(mode="after")
    def _two_probabilities(self) -> Self:
        if self.policy.kind == "proportional" and self.kind != "gru":
            raise ValueError("a proportional policy needs a forecast of two probabilities, which only kind gru makes")
        return self

    @classmethod
    def parse(cls, text: str, where: str) -> "StrategyFile":
        """Read a strategy file's text; `where` names it in errors.

        Raises:
            ConfigError: it is no TOML, or says something that cannot be traded.
        """
        try:
            return cls.model_validate(tomllib.loads(text, parse_float=Decimal))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"The strategy file {where} is not valid TOML: {error}; correct that place.") from error
        except ValidationError as error:
            raise ConfigError(f"The strategy file {where} cannot be used: {first(error, cls)}.") from error
