"""Load a strategy file and its model."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

from trader.app import places
from trader.config import Settings, StrategyFile, kind_of
from trader.decide import Strategy
from trader.domain.account import MarginMode
from trader.domain.decision import Limits, Rebalance
from trader.domain.interval import Interval
from trader.errors import ConfigError, ModelError
from trader.execution.guards import WireLimits
from trader.execution.remainder import Rules
from trader.forecast.artifact import Model, load
from trader.forecast.card import Construction
from trader.forecast.linear import LinearForecaster
from trader.portfolio.allocator import ExposureAllocator
from trader.portfolio.policy import ProportionalPolicy, SignPolicy
from trader.research.drift import DriftLimits
from trader.strategies.ar import ArStrategy
from trader.strategies.gru import GruStrategy

_SHORTEST_DELAY = timedelta(seconds=60)
_OUTAGE = timedelta(days=7)
_DEVIATION = Decimal("0.05")
_CLOCK_OFFSET = timedelta(seconds=1)
_CANARY = Decimal(100)
_SHORTFALL = Decimal("0.05")
_COST_RATIO = Decimal(4)


class _Shared(TypedDict):
    """What every strategy of one symbol is made of."""

    name: str
    symbol: str
    interval: Interval
    allocator: ExposureAllocator
    band: float
    leverage: int
    margin_mode: MarginMode
    rebalance: Rebalance


@dataclass(frozen=True, slots=True)
class Loaded:
    """A strategy ready to decide, its file's text and hash, and its model with the bytes it was loaded from."""

    strategy: Strategy
    file: StrategyFile
    text: str
    hash: str
    model: Model
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
    if kind_of(text) == "carry":
        raise ConfigError(
            f"The strategy {path.stem} is a portfolio, which nothing but research plays yet; use it with `trader "
            "backtest`, `trader evidence` or `trader report`, or name a strategy of one symbol."
        )
    file = StrategyFile.parse(text, str(path))
    card, weights = read_model(places.model_path(file.model, path.parent))
    return compose(text, file, card, weights)


def compose(text: str, file: StrategyFile, card: bytes, weights: bytes) -> Loaded:
    """Put a strategy together from its file and its model's bytes."""
    interval = Interval.parse(file.interval)
    model = load(card, weights, symbol=file.symbol, interval=interval, construction=Construction.of(interval))
    if model.card.kind != file.kind:
        raise ModelError(
            f"The strategy {file.name} is of the kind {file.kind} and its model {model.name} of the kind "
            f"{model.card.kind}; correct `kind`, or name another model."
        )
    strategy = _composed(file, interval, model)
    return Loaded(strategy, file, text, hashlib.sha256(text.encode()).hexdigest(), model, card, weights)


def _composed(file: StrategyFile, interval: Interval, model: Model) -> Strategy:
    """Return the ready composition of a file and the forecaster of its model."""
    allocation = file.allocation
    cap = None if allocation.cap is None else float(allocation.cap)
    shared = _Shared(
        name=file.name,
        symbol=file.symbol,
        interval=interval,
        allocator=ExposureAllocator(float(allocation.exposure), cap, allocation.capital),
        band=allocation.band,
        leverage=allocation.leverage,
        margin_mode=allocation.margin_mode,
        rebalance=allocation.rebalance,
    )
    sign = SignPolicy(file.policy.threshold)
    if isinstance(model.forecaster, LinearForecaster):
        return ArStrategy(forecaster=model.forecaster, policy=sign, **shared)
    proportional = ProportionalPolicy(file.policy.threshold)
    policy = proportional if file.policy.kind == "proportional" else sign
    return GruStrategy(forecaster=model.forecaster, policy=policy, **shared)


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


def limits(settings: Settings, loaded: Loaded) -> Limits:
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
    )


def follow_rules(loaded: Loaded) -> Rules:
    """Return what follows on an order that ends short."""
    return Rules(loaded.file.execution.top_up, loaded.file.execution.smaller)


def drift_limits(settings: Settings, loaded: Loaded) -> DriftLimits:
    """Return how far reality may fall behind: the settings, else the strategy file, else 5 % and four times the costs.

    On the embedded exchange, which does what is expected of it, only what is said.
    """
    asked, own, real = settings.risk, loaded.file.risk, settings.venue != "sim"
    return DriftLimits(
        max_shortfall=asked.max_shortfall or own.max_shortfall or (_SHORTFALL if real else None),
        max_cost_ratio=asked.max_cost_ratio or own.max_cost_ratio or (_COST_RATIO if real else None),
    )


def max_outage(settings: Settings, loaded: Loaded) -> timedelta:
    """Return how long nothing may be decided until a person has to resume: as set, else seven days or two closes."""
    seconds = settings.risk.max_outage or loaded.file.risk.max_outage
    return max(_OUTAGE, 2 * loaded.strategy.interval.delta) if seconds is None else timedelta(seconds=seconds)


def wire_limits(settings: Settings, loaded: Loaded) -> WireLimits:
    """Return what is allowed when an order leaves: the settings, else the strategy file, else 5 % and a second."""
    asked, own = settings.risk, loaded.file.risk
    seconds = asked.max_clock_offset or own.max_clock_offset
    return WireLimits(
        max_deviation=asked.max_deviation or own.max_deviation or _DEVIATION,
        max_clock_offset=_CLOCK_OFFSET if seconds is None else timedelta(seconds=seconds),
    )


def max_delay(settings: Settings, loaded: Loaded) -> timedelta:
    """Return how long after a close it may still be decided: as set, else a tenth of the interval."""
    seconds = settings.risk.max_delay or loaded.file.risk.max_delay
    if seconds is not None:
        return timedelta(seconds=seconds)
    return max(_SHORTEST_DELAY, loaded.strategy.interval.delta / 10)
