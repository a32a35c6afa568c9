"""Load a strategy file and its model."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import polars as pl

from trader.app import compositions, places
from trader.app.worth import Verdicts, Worth, of_model, of_rule
from trader.config import PortfolioFile, Settings, StrategyFile, kind_of
from trader.decide import Strategy
from trader.domain.decision import Limits
from trader.domain.interval import Interval
from trader.errors import ConfigError, ModelError
from trader.execution.fills import Costs
from trader.execution.guards import WireLimits
from trader.execution.remainder import Rules
from trader.forecast.artifact import Model, load
from trader.forecast.card import Construction
from trader.research.drift import DriftLimits
from trader.research.evidence.earnings import per_side
from trader.strategies.carry import CarryStrategy

_SHORTEST_DELAY = timedelta(seconds=60)
_OUTAGE = timedelta(days=7)
_DEVIATION = Decimal("0.05")
_CLOCK_OFFSET = timedelta(seconds=1)
_CANARY = Decimal(100)
_SHORTFALL = Decimal("0.05")
_COST_RATIO = Decimal(4)


class Ruled(Protocol):
    """A strategy with the file it was made from, which says how it is guarded."""

    @property
    def strategy(self) -> Strategy:
        """The composition."""
        ...

    @property
    def file(self) -> StrategyFile | PortfolioFile:
        """Its file."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A strategy ready to decide, its file's text and hash, and its model with the bytes it was loaded from.

    A portfolio has no model: nothing was fitted, and its bytes are what is kept of the verdict on its rule, and none.
    """

    strategy: Strategy
    file: StrategyFile | PortfolioFile
    text: str
    hash: str
    worth: Worth
    model: Model | None
    card: bytes
    weights: bytes


def load_strategy(settings: Settings) -> Loaded:
    """Load the strategy the settings name, else the default one.

    Raises:
        ConfigError: there is no such file, or it cannot be used.
        ModelError: its model is refused.
    """
    path = places.strategy_path(settings.strategy)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The strategy file {path} cannot be read ({error}); check its path and rights.") from error
    cost = per_side(costs_of(settings))
    if kind_of(text) == "carry":
        file = PortfolioFile.parse(text, str(path))
        found = compose_portfolio(text, file)
        judged = verdicts(settings).of(file, compositions.carry(file).forecaster, cost)
        worth = of_rule(file.name, found.hash, judged)
        return replace(found, worth=worth, card=worth.card.encode())
    one = StrategyFile.parse(text, str(path))
    card, weights = read_model(places.model_path(one.model, path.parent))
    found = compose(text, one, card, weights)
    return replace(found, worth=found.worth.expecting(cost))


def first_close(candles: pl.DataFrame, strategy: CarryStrategy) -> datetime:
    """Return the first close at which a symbol that was there from the start of some candles is old enough."""
    first: datetime = min(candles["open_time"].to_list())
    return strategy.interval.ceil(first) + max(strategy.forecaster.least_history, 2) * strategy.interval.delta


def costs_of(settings: Settings) -> Costs:
    """Return what trading costs by the settings."""
    return Costs(settings.sim.fee, settings.sim.slippage, settings.sim.spread)


def verdicts(settings: Settings) -> Verdicts:
    """Return where the verdicts on rules are kept."""
    return Verdicts(settings.data_dir / "store")


def compose(text: str, file: StrategyFile, card: bytes, weights: bytes) -> Loaded:
    """Put a strategy together from its file and its model's bytes."""
    interval = Interval.parse(file.interval)
    model = load(card, weights, symbol=file.symbol, interval=interval, construction=Construction.of(interval))
    if model.card.kind != file.kind:
        raise ModelError(
            f"The strategy {file.name} is of the kind {file.kind} and its model {model.name} of the kind "
            f"{model.card.kind}; correct `kind`, or name another model."
        )
    strategy = compositions.one_symbol(file, interval, model)
    return Loaded(strategy, file, text, text_hash(text), of_model(model, file.policy.kind), model, card, weights)


def compose_portfolio(text: str, file: PortfolioFile) -> Loaded:
    """Put a portfolio together whose symbols are those that are listed at each close; nobody has judged it here."""
    worth = of_rule(file.name, text_hash(text))
    return Loaded(compositions.carry(file), file, text, worth.hash, worth, None, worth.card.encode(), b"")


def text_hash(text: str) -> str:
    """Return the identity of a strategy file."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_model(folder: Path) -> tuple[bytes, bytes]:
    """Read a model folder's card and weights.

    Raises:
        ModelError: one of the two is not there.
    """
    try:
        return (folder / "card.json").read_bytes(), (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        raise ModelError(
            f"The model {folder} cannot be read: {Path(str(error.filename)).name}: {error.strerror}; train or copy it "
            "again."
        ) from error


def limits(settings: Settings, loaded: Ruled) -> Limits:
    """Return what guards allow: the settings, else the strategy file, else as wide as the leverage."""
    asked, own = settings.risk, loaded.file.risk
    canary = (asked.canary_notional or own.canary_notional or _CANARY) if settings.staged == "canary" else None
    return Limits(
        max_drawdown=asked.max_drawdown or own.max_drawdown or Decimal(1),
        max_leverage=asked.max_leverage or own.max_leverage or Decimal(loaded.strategy.leverage),
        max_notional=asked.max_notional or own.max_notional,
        max_position=asked.max_position or own.max_position,
        max_daily_loss=asked.max_daily_loss or own.max_daily_loss or Decimal(1),
        max_orders=asked.max_orders or own.max_orders,
        min_liquidation_distance=asked.min_liquidation_distance or own.min_liquidation_distance,
        max_funding=asked.max_funding or own.max_funding,
        canary_notional=canary,
        max_slippage=loaded.file.execution.bound,
        cost=settings.sim.fee + settings.sim.spread / 2 + settings.sim.slippage,
        protective_stop=asked.protective_stop or own.protective_stop,
    )


def follow_rules(loaded: Ruled) -> Rules:
    """Return what follows on an order that ends short."""
    return Rules(loaded.file.execution.top_up, loaded.file.execution.smaller)


def drift_limits(settings: Settings, loaded: Ruled) -> DriftLimits:
    """Return how far reality may fall behind: the settings, else the strategy file, else 5 % and four times the costs.

    On the embedded exchange, which does what is expected of it, only what is said.
    """
    asked, own, real = settings.risk, loaded.file.risk, settings.venue != "sim"
    return DriftLimits(
        max_shortfall=asked.max_shortfall or own.max_shortfall or (_SHORTFALL if real else None),
        max_cost_ratio=asked.max_cost_ratio or own.max_cost_ratio or (_COST_RATIO if real else None),
    )


def max_outage(settings: Settings, loaded: Ruled) -> timedelta:
    """Return how long nothing may be decided until a person has to resume: as set, else seven days or two closes."""
    seconds = settings.risk.max_outage or loaded.file.risk.max_outage
    return max(_OUTAGE, 2 * loaded.strategy.interval.delta) if seconds is None else timedelta(seconds=seconds)


def wire_limits(settings: Settings, loaded: Ruled) -> WireLimits:
    """Return what is allowed when an order leaves: the settings, else the strategy file, else 5 % and a second.

    A canary's cap is looked at here once more.
    """
    asked, own = settings.risk, loaded.file.risk
    seconds = asked.max_clock_offset or own.max_clock_offset
    return WireLimits(
        max_deviation=asked.max_deviation or own.max_deviation or _DEVIATION,
        max_clock_offset=_CLOCK_OFFSET if seconds is None else timedelta(seconds=seconds),
        canary_notional=limits(settings, loaded).canary_notional,
    )


def max_delay(settings: Settings, loaded: Ruled) -> timedelta:
    """Return how long after a close it may still be decided: as set, else a tenth of the interval, or a minute."""
    seconds = settings.risk.max_delay or loaded.file.risk.max_delay
    if seconds is not None:
        return timedelta(seconds=seconds)
    interval = loaded.strategy.interval.delta
    return max(min(_SHORTEST_DELAY, interval / 2), interval / 10)


def require_times(settings: Settings, loaded: Ruled) -> None:
    """Refuse a delay or an outage that does not go with the interval.

    A close that may be decided later than the next one keeps that waiting, which is decided late then. And what decides
    every close in time lets an interval and the delay pass between two decisions: a shorter outage would be one at
    every close.

    Raises:
        ConfigError: one of the two.
    """
    interval, delay, outage = loaded.strategy.interval, max_delay(settings, loaded), max_outage(settings, loaded)
    if delay >= interval.delta:
        raise ConfigError(
            f"{_said(settings, 'max_delay')} ({delay.total_seconds():g} s) is not shorter than the interval of "
            f"{loaded.file.name} ({interval}, {interval.delta.total_seconds():g} s), and a close decided so late keeps "
            "the next one waiting; set it below that, or leave it out."
        )
    if outage < interval.delta + delay:
        raise ConfigError(
            f"{_said(settings, 'max_outage')} ({outage.total_seconds():g} s) is shorter than what passes between two "
            f"closes of {loaded.file.name} that are decided in time; set it to "
            f"{(interval.delta + delay).total_seconds():g} at least (the interval and max_delay), or leave it out."
        )


def _said(settings: Settings, name: str) -> str:
    """Say where a limit that is set comes from."""
    if getattr(settings.risk, name) is not None:
        return f"TRADER_RISK__{name.upper()}"
    return f"risk.{name} in the strategy file"
