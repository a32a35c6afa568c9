"""Settings of the process, and the strategy file: read, checked, and refused in one sentence.

A setting comes from the command line, else the environment, else `.env` in the working directory, else the secrets
directory, else, for `[risk]`, the strategy file, else its default.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict, SettingsError

from trader.domain.decision import Rebalance
from trader.domain.interval import Interval
from trader.errors import ConfigError, NotPermitted

CONSENT = "I-understand"
PREFIX = "TRADER_"
_DOTENV = Path(".env")

Fraction = Annotated[Decimal, Field(gt=0, le=1)]
Rate = Annotated[Decimal, Field(ge=0, le=Decimal("0.05"))]
Positive = Annotated[Decimal, Field(gt=0)]
Policy = Literal["halt", "adopt"]
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]


def _interval(text: str) -> str:
    try:
        return str(Interval.parse(text))
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _data_dir() -> Path:
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".local" / "share") / "trader"
    except RuntimeError as error:
        raise ConfigError("There is no home directory to keep a journal in; set TRADER_DATA_DIR.") from error


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ExchangeSettings(_Section):
    """How the exchange is reached; `timeout` in seconds for a whole request, `recv_window` in milliseconds."""

    loopback: int | None = Field(None, ge=1, le=65535)
    timeout: float = Field(10.0, gt=0, allow_inf_nan=False)
    recv_window: int = Field(5000, gt=0, le=5000)


class RiskSettings(_Section):
    """What guards allow, where it is said.

    `max_delay` is how long after a close it may still be decided; after `max_outage` without a close a person has to
    resume; `max_clock_offset` is how far this machine's clock may be from the exchange's when an opening order leaves,
    all in seconds, and `max_deviation` how far the mark from the decision's price then, as a fraction. The others are
    as in `domain.decision.Limits`.
    """

    max_drawdown: Fraction | None = None
    max_leverage: Positive | None = None
    max_notional: Positive | None = None
    max_position: Positive | None = None
    max_daily_loss: Fraction | None = None
    max_orders: int | None = Field(None, ge=1)
    min_liquidation_distance: Annotated[Decimal, Field(gt=0, lt=1)] | None = None
    max_funding: Fraction | None = None
    max_deviation: Fraction | None = None
    max_clock_offset: float | None = Field(None, gt=0, le=86400.0, allow_inf_nan=False)
    max_delay: float | None = Field(None, gt=0, le=86400.0 * 366, allow_inf_nan=False)
    max_outage: float | None = Field(None, gt=0, le=86400.0 * 366, allow_inf_nan=False)


class ReconcileSettings(_Section):
    """What to do about a difference that can be lived with: halt until a person resumes, or adopt it as it is."""

    position: Policy = "halt"
    order: Policy = "halt"
    leverage: Policy = "halt"
    margin_mode: Policy = "halt"
    liquidation: Policy = "halt"
    adl: Policy = "halt"
    settlement: Policy = "halt"


class WatchdogSettings(_Section):
    """What keeps a daemon from hanging or crashing for ever.

    In seconds of real time: `stall` until a loop that stands still ends the process, `step` for one question to the
    exchange, `cycle` for one attempt at a close. `crashes` starts in a row that decide nothing, within ten minutes,
    halt the next one; 0 turns that off.
    """

    stall: float = Field(60.0, ge=1, allow_inf_nan=False)
    step: float = Field(120.0, gt=0, allow_inf_nan=False)
    cycle: float = Field(900.0, gt=0, allow_inf_nan=False)
    crashes: int = Field(5, ge=0)


class SimSettings(_Section):
    """The embedded exchange's money: `fee` and `slippage` and the whole `spread` as fractions of the price, in USDT."""

    equity: Annotated[Decimal, Field(gt=0, le=10**12)] = Decimal(10000)
    fee: Rate = Decimal("0.0005")
    slippage: Rate = Decimal("0.0001")
    spread: Rate = Decimal("0.0002")
    faults: UserPath | None = None


class LogSettings(_Section):
    """What is logged, and how: `auto` is `console` on a terminal and `json` elsewhere."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """Everything a process is told; made by `load`.

    Raises:
        ConfigError: settings that do not go together.
        NotPermitted: live money without consent.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    venue: Literal["sim", "testnet", "live"] = "sim"
    dry_run: bool = False
    strategy: str = "ada-ar-16h"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    secrets_dir: UserPath | None = None
    live: str = ""
    overrule: str = ""
    data_dir: UserPath = Field(default_factory=_data_dir)
    exchange: ExchangeSettings = ExchangeSettings()
    risk: RiskSettings = RiskSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    sim: SimSettings = SimSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Read the settings of this process.

        Args:
            overrides: what the command line says, by field name; None says nothing, sections are mappings.

        Raises:
            ConfigError: a setting is unknown, malformed, or does not go with another.
            NotPermitted: live money without consent.
        """
        said = _without_none(overrides)
        written = _written()
        # pydantic would ignore what it does not know, and a limit misspelt is no limit
        _refuse_unknown(os.environ, "the environment")
        _refuse_unknown(written, str(_DOTENV.absolute()))
        folders = _secret_folders(said, written)
        try:
            return cls(_env_file=_DOTENV, _secrets_dir=folders or None, **said)
        except ValidationError as error:
            raise ConfigError(f"{_first(error, cls, _whereabouts(written))}.") from None
        except (OSError, UnicodeDecodeError, SettingsError) as error:
            places = " and ".join(map(str, folders)) or "the environment"
            raise ConfigError(f"The settings in {places} cannot be read: {error}; correct them.") from None

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.venue == "live" and self.exchange.loopback is not None:
            raise ConfigError(
                "TRADER_EXCHANGE__LOOPBACK points to an exchange on this machine and TRADER_VENUE is live; unset the "
                "one, or set the other to testnet."
            )
        if self.venue == "live" and self.live != CONSENT:
            raise NotPermitted(f"TRADER_VENUE=live trades real money; set TRADER_LIVE={CONSENT} to allow it.")
        if (self.api_key is None) != (self.api_secret is None):
            there, missing = ("SECRET", "KEY") if self.api_key is None else ("KEY", "SECRET")
            raise ConfigError(f"TRADER_API_{there} is set and TRADER_API_{missing} is not; set both or neither.")
        if self.exchange.recv_window >= self.exchange.timeout * 1000:
            raise ConfigError(
                f"TRADER_EXCHANGE__RECV_WINDOW ({self.exchange.recv_window} ms) is not shorter than "
                f"TRADER_EXCHANGE__TIMEOUT ({self.exchange.timeout:g} s); raise the timeout, because a request must be "
                "stale before it is given up."
            )
        return self


class PolicySection(_Section):
    """From forecast to direction; a forecast below `threshold` (a log return) keeps the present side."""

    threshold: float = Field(0.0, ge=0, allow_inf_nan=False)


class AllocationSection(_Section):
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


class StrategyFile(_Section):
    """A strategy as written in a TOML file."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    kind: Literal["ar"]
    symbol: str = Field(min_length=1, max_length=40)
    interval: Annotated[str, AfterValidator(_interval)]
    model: str = Field(min_length=1)
    policy: PolicySection = PolicySection()
    allocation: AllocationSection = AllocationSection()
    risk: RiskSettings = RiskSettings()

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
            raise ConfigError(f"The strategy file {where} cannot be used: {_first(error, cls)}.") from error


def _written() -> Mapping[str, str | None]:
    """Return the variables in `.env`."""
    if not _DOTENV.is_file():
        return {}
    try:
        return DotEnvSettingsSource(Settings, env_file=_DOTENV).env_vars
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"The settings in {_DOTENV.absolute()} cannot be read: {reason}; correct or remove that file."
        ) from None


def names(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[str]:
    """Return every variable that is understood."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += names(inner, f"{prefix}{name.upper()}__")
        else:
            found.append(f"{prefix}{name.upper()}")
    return found


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _refuse_unknown(found: Iterable[str], where: str) -> None:
    known = names()
    for name in sorted(map(str.upper, found)):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"{name} in {where} is no setting; {_nearest(name, known)}.")


def _nearest(name: str, known: Iterable[str]) -> str:
    within = [one for one in known if one.startswith(f"{name}__")]
    # compared without the prefix that all share, and by the last word alone
    short = {re.split(r"__|\.", one)[-1]: one for one in known} | {one.removeprefix(PREFIX): one for one in known}
    near = within or [short[one] for one in difflib.get_close_matches(name.removeprefix(PREFIX), short, cutoff=0.6)]
    return f"{near[0]} may be meant" if near else "remove it"


def _whereabouts(written: Mapping[str, str | None]) -> Callable[[str], str]:
    """Return how to say where the value of a variable came from."""

    def where(name: str) -> str:
        if any(name == found.upper() for found in os.environ):
            return f"{name} in the environment"
        if any(name == found.upper() for found in written):
            return f"{name} in {_DOTENV.absolute()}"
        return f"{name}, given on the command line or in the secrets directory,"

    return where


def _secret_folders(said: Mapping[str, Any], written: Mapping[str, str | None]) -> list[Path]:
    """Return where files of secrets lie, the more important last: what systemd hands over, then what is named."""
    folders = []
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    if handed and Path(handed).is_dir():
        folders.append(Path(handed))
    environment = {name.upper(): value for name, value in os.environ.items()}
    lower = f"{PREFIX}SECRETS_DIR".lower()
    named = said.get("secrets_dir") or environment.get(lower.upper()) or written.get(lower)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise ConfigError(
                f"TRADER_SECRETS_DIR names {folder}, which is no directory; create it or correct the name."
            )
        folders.append(folder)
    for folder in folders:
        try:
            files = [file.name for file in folder.iterdir()]
        except OSError as error:
            raise ConfigError(
                f"The settings in {folder} cannot be read: {error.strerror}; correct its rights."
            ) from None
        _refuse_unknown(files, str(folder))
    return folders


def _first(error: ValidationError, model: type[BaseModel], say: Callable[[str], str] | None = None) -> str:
    """Say the first thing that is wrong, where, and how many more there are; values are never repeated.

    `say` turns a variable's name into where it was set; without it places are keys of a file.
    """
    details = error.errors(include_url=False, include_input=False, include_context=False)
    first, more = details[0], len(details) - 1
    words = [str(part) for part in first["loc"]]
    if say is None:
        place, known = ".".join(words), [name.lower().replace("__", ".") for name in names(model, "")]
        where, remedy = place, "correct it"
    else:
        place, known = PREFIX + "__".join(words).upper(), names(model)
        where, remedy = say(place), "correct or unset it"
    what = first["msg"].removeprefix("Value error, ").rstrip(".")
    match first["type"]:
        case "extra_forbidden":
            sentence = f"{where} is no setting; {_nearest(place, known)}"
        case "missing":
            sentence = f"{where} is missing; add it"
        case _:
            sentence = f"{where} is refused: {what[:1].lower()}{what[1:]}; {remedy}"
    return sentence + (f" (and {more} more)" if more else "")
