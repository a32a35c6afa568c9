"""The sections of the settings: what each may say, and its defaults."""

from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

Fraction = Annotated[Decimal, Field(gt=0, le=1)]
Rate = Annotated[Decimal, Field(ge=0, le=Decimal("0.05"))]
Positive = Annotated[Decimal, Field(gt=0, le=10**15)]
"""A limit of more digits than any market has is a slip of the pen, and would guard nothing."""
Seconds = Annotated[float, Field(le=86400.0, allow_inf_nan=False)]
Policy = Literal["halt", "adopt"]
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
_CLOCK_ERROR = timedelta(seconds=1)
_MARGIN = timedelta(seconds=1)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _address(text: str) -> str:
    try:
        return str(ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError as error:
        raise ValueError("it is no IP address of this machine, such as 127.0.0.1 or 0.0.0.0") from error


class Section(BaseModel):
    """A group of settings that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ExchangeSettings(Section):
    """How the exchange is reached; `timeout` in seconds for a whole request, `recv_window` in milliseconds."""

    loopback: int | None = Field(None, ge=1, le=65535)
    timeout: Seconds = Field(10.0, gt=0)
    recv_window: int = Field(5000, gt=0, le=5000)

    @property
    def settle(self) -> timedelta:
        """How long after a post is over an order that the exchange does not know can still appear; see `Timing`.

        To timeout and receive window come what clocks may be off, and a margin.
        """
        return timedelta(seconds=self.timeout, milliseconds=self.recv_window) + _CLOCK_ERROR + _MARGIN


class RiskSettings(Section):
    """What guards allow, where it is said.

    `max_delay` is how long after a close it may still be decided; after `max_outage` without a close a person has to
    resume; `max_clock_offset` is how far this machine's clock may be from the exchange's when an opening order leaves,
    all in seconds, and `max_deviation` how far the mark from the decision's price then, as a fraction. `max_shortfall`
    and `max_cost_ratio` are as in `research.drift.DriftLimits`, the others as in `domain.decision.Limits`.
    """

    max_drawdown: Fraction | None = None
    max_leverage: Positive | None = None
    max_notional: Positive | None = None
    max_position: Positive | None = None
    max_daily_loss: Fraction | None = None
    max_orders: int | None = Field(None, ge=1, le=10**9)
    canary_notional: Positive | None = None
    min_liquidation_distance: Annotated[Decimal, Field(gt=0, lt=1)] | None = None
    protective_stop: Annotated[Decimal, Field(ge=Decimal("0.005"), lt=1)] | None = None
    max_funding: Fraction | None = None
    max_shortfall: Fraction | None = None
    max_cost_ratio: Annotated[Decimal, Field(ge=1, le=10**6)] | None = None
    max_deviation: Fraction | None = None
    max_clock_offset: float | None = Field(None, gt=0, le=86400.0, allow_inf_nan=False)
    max_delay: float | None = Field(None, gt=0, le=86400.0 * 366, allow_inf_nan=False)
    max_outage: float | None = Field(None, gt=0, le=86400.0 * 366, allow_inf_nan=False)


class ReconcileSettings(Section):
    """What to do about a difference that can be lived with: halt until a person resumes, or adopt it as it is."""

    position: Policy = "halt"
    order: Policy = "halt"
    leverage: Policy = "halt"
    margin_mode: Policy = "halt"
    liquidation: Policy = "halt"
    adl: Policy = "halt"
    settlement: Policy = "halt"
    stop: Policy = "halt"


class WatchdogSettings(Section):
    """What keeps a daemon from hanging or crashing for ever.

    In seconds of real time: `stall` until a loop that stands still ends the process, `step` for one question to the
    exchange, `cycle` for one attempt at a close. `crashes` starts in a row that decide nothing, within ten minutes,
    halt the next one; 0 turns that off.
    """

    stall: Seconds = Field(60.0, ge=1)
    step: Seconds = Field(120.0, gt=0)
    cycle: Seconds = Field(900.0, gt=0)
    crashes: int = Field(5, ge=0)


class SimSettings(Section):
    """The embedded exchange's money: `fee` and `slippage` and the whole `spread` as fractions of the price, in USDT."""

    equity: Annotated[Decimal, Field(gt=0, le=10**12)] = Decimal(10000)
    fee: Rate = Decimal("0.0005")
    slippage: Rate = Decimal("0.0001")
    spread: Rate = Decimal("0.0002")
    faults: UserPath | None = None


class StatusSettings(Section):
    """Where the status page, its JSON and the metrics are served; `port` 0 is any that is free."""

    enabled: bool = True
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    port: int = Field(8787, ge=0, le=65535)

    @property
    def local(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        return ip_address(self.host).is_loopback


class AlertsSettings(Section):
    """Who is told, and of what; without `urls` nobody is.

    `urls` are addresses for apprise, separated by spaces or line ends, and `ping` an address that is fetched every
    `ping_every` seconds while all is well, so that somebody outside notices a silence. Both hold keys, so they are
    secrets. `level` is the least that is told; `repeat` how many seconds the same news is kept back after it was told.
    `digest` is the time of day (HH:MM, UTC) of the daily word that all is well, or `off`.
    """

    urls: SecretStr | None = None
    ping: SecretStr | None = None
    ping_every: Seconds = Field(300.0, ge=10)
    level: Literal["info", "warning", "critical"] = "warning"
    repeat: float = Field(21600.0, ge=0, le=86400.0 * 366, allow_inf_nan=False)
    digest: Annotated[str, Field(pattern=r"^(off|([01]\d|2[0-3]):[0-5]\d)$")] = "07:00"


class LogSettings(Section):
    """What is logged, and how: `auto` is `console` on a terminal and `json` elsewhere."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"
