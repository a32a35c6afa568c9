"""Ready strategies from their files: a forecaster, a policy and an allocator each."""

from collections.abc import Sequence
from typing import TypedDict

from trader.config import PortfolioFile, StrategyFile
from trader.decide import Strategy
from trader.domain.account import MarginMode
from trader.domain.decision import Rebalance
from trader.domain.interval import Interval
from trader.forecast.artifact import Model
from trader.forecast.carry import CarryForecaster
from trader.forecast.linear import LinearForecaster
from trader.portfolio.allocator import ExposureAllocator
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator
from trader.portfolio.policy import ProportionalPolicy, SignPolicy, TenthPolicy
from trader.strategies.ar import ArStrategy
from trader.strategies.carry import CarryStrategy
from trader.strategies.gru import GruStrategy


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


def one_symbol(file: StrategyFile, interval: Interval, model: Model) -> Strategy:
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


def carry(file: PortfolioFile, symbols: Sequence[str] = ()) -> CarryStrategy:
    """Return the carry strategy of a file, over some symbols, or over all that are listed at each close."""
    interval = Interval.parse(file.interval)
    universe, moves, ranking, basket = file.universe, file.volatility, file.ranking, file.allocation
    return CarryStrategy(
        name=file.name,
        symbols=tuple(sorted(set(symbols) - set(universe.exclude))),
        exclude=frozenset(universe.exclude),
        interval=interval,
        forecaster=CarryForecaster(
            liquidity_window=universe.window,
            tenths_kept=universe.tenths,
            least_history=universe.least_history,
            winsor=ranking.winsor,
            spans=moves.spans,
            volatility_window=moves.window,
            realised_window=moves.realised,
        ),
        policy=TenthPolicy(ranking.direction, ranking.slope, ranking.offset, ranking.bound),
        allocator=InverseVolatilityAllocator(
            per_year=interval.per_year,
            target_volatility=basket.target_volatility,
            cap=basket.cap,
            gross=basket.gross,
            net=basket.net,
            turnover=basket.turnover,
            patience=basket.patience,
            risk_aversion=basket.risk_aversion,
        ),
        leverage=basket.leverage,
        margin_mode=basket.margin_mode,
    )
