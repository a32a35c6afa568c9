"""The strategy file of a portfolio."""

import tomllib
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from trader.config.refusals import first
from trader.config.sections import RiskSettings, Section
from trader.config.strategy import ExecutionSection, interval_text
from trader.errors import ConfigError


class UniverseSection(Section):
    """Which symbols may be held: the `tenths` most liquid tenths by dollar volume over `window` candles.

    A symbol younger than `least_history` candles is in none, and those in `exclude` never are.
    """

    tenths: int = Field(2, ge=1, le=10)
    window: int = Field(30, ge=1, le=1000)
    least_history: int = Field(30, ge=2, le=1000)
    exclude: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known_in_time(self) -> Self:
        if self.least_history > self.window:
            raise ValueError("least_history is longer than the window that is averaged; make it as long at most")
        return self


class VolatilitySection(Section):
    """How volatility is forecast: two exponential averages of `spans`, over the last `window` candles at most.

    `realised` is how many candles the plain volatility beside it is measured over.
    """

    spans: tuple[Annotated[int, Field(ge=1, le=1000)], Annotated[int, Field(ge=1, le=1000)]] = (21, 90)
    window: int = Field(120, ge=2, le=1000)
    realised: int = Field(30, ge=2, le=1000)


class RankingSection(Section):
    """From carry to target.

    `direction` harvest holds what longs are paid for and shorts what they pay for; pay is its mirror image. `winsor` is
    the share brought in at either end. `slope`, `offset` and `bound` shape the logistic curve from the worst tenth (-1)
    to the best (1).
    """

    direction: Literal["harvest", "pay"] = "harvest"
    winsor: float = Field(0.05, ge=0, lt=0.5, allow_inf_nan=False)
    slope: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)
    offset: float = Field(0.0, ge=-1, le=1, allow_inf_nan=False)
    bound: float = Field(0.9, gt=0, le=1, allow_inf_nan=False)


class BasketSection(Section):
    """From target to size, all as fractions of equity.

    `target_volatility` is a standard deviation a year, `cap` bounds one symbol, `gross` and `net` the sums without and
    with sign, `turnover` what one close may trade by choice. A held symbol is traded to within `patience` * spread /
    (`risk_aversion` * variance a year) of its wish. `leverage` is the exchange's setting, strictly greater than
    `gross`.
    """

    target_volatility: float = Field(0.4, gt=0, le=10, allow_inf_nan=False)
    cap: float = Field(0.2, gt=0, le=10, allow_inf_nan=False)
    gross: float = Field(2.0, gt=0, le=100, allow_inf_nan=False)
    net: float | None = Field(0.2, ge=0, le=100, allow_inf_nan=False)
    turnover: float = Field(0.3, gt=0, le=100, allow_inf_nan=False)
    patience: float = Field(0.3, ge=0, le=100, allow_inf_nan=False)
    risk_aversion: float = Field(2.0, gt=0, le=1000, allow_inf_nan=False)
    leverage: int = Field(5, ge=1, le=125)
    margin_mode: Literal["isolated", "cross"] = "cross"

    @model_validator(mode="after")
    def _margin_left(self) -> Self:
        if self.leverage <= self.gross:
            raise ValueError(
                f"leverage ({self.leverage}) must be greater than gross ({self.gross:g}), or fee and price move "
                "find no margin"
            )
        return self


class PortfolioFile(Section):
    """A strategy of many symbols as written in a TOML file."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    kind: Literal["carry"]
    interval: Annotated[str, AfterValidator(interval_text)]
    universe: UniverseSection = UniverseSection()
    volatility: VolatilitySection = VolatilitySection()
    ranking: RankingSection = RankingSection()
    allocation: BasketSection = BasketSection()
    execution: ExecutionSection = ExecutionSection()
    risk: RiskSettings = RiskSettings()

    @classmethod
    def parse(cls, text: str, where: str) -> "PortfolioFile":
        """Read a strategy file's text; `where` names it in errors.

        Raises:
            ConfigError: it is no TOML, or says something that cannot be traded.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"The strategy file {where} is not valid TOML: {error}; correct that place.") from error
        except ValidationError as error:
            raise ConfigError(f"The strategy file {where} cannot be used: {first(error, cls)}.") from error


def kind_of(text: str) -> str:
    """Return the kind a strategy file says it is of; empty where it says none, or is no TOML."""
    try:
        kind = tomllib.loads(text, parse_float=Decimal).get("kind", "")
    except tomllib.TOMLDecodeError:
        return ""
    return kind if isinstance(kind, str) else ""
