"""Judge models in folders: by the files at hand, and by every fit that was ever recorded here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import places
from trader.app.portfolios import Market, Portfolio, compose_portfolio, read_market
from trader.app.stored import candles_of, funding_of
from trader.app.strategies import costs_of, read_model, verdicts
from trader.app.tapes import TapeChoice
from trader.app.worth import rule_hash
from trader.config import PortfolioFile, Settings
from trader.domain.interval import Interval
from trader.forecast.artifact import load
from trader.market.resample import resample
from trader.research.dataset import data_hash
from trader.research.evidence.baskets import judge_basket
from trader.research.evidence.judge import judge
from trader.research.evidence.refits import FOLDS
from trader.research.evidence.trials import Trial, TrialStore, sharpes
from trader.research.evidence.weigh import Evidence


def evidence(
    settings: Settings,
    folder: Path,
    candles: Path | None,
    *,
    funding: Path | None,
    since: datetime | None,
    step: Callable[[], object],
    walking: Callable[[], object],
) -> dict[str, Any]:
    """Judge a model by a candle file, or without one by the store, and return everything its verdict rests on.

    Raises:
        ConfigError: there is no such model, or the store of trials cannot be read.
        DataError: candles or funding do not fit the model, or no close is unseen.
        ModelError: the model is refused, or nobody knows what it was trained on.
    """
    card, weights = read_model(places.model_path(str(folder), Path.cwd()))
    model = load(card, weights)
    symbol = model.card.symbol
    found = judge(
        model,
        candles_of(settings, candles, symbol, model.card.interval),
        costs_of(settings),
        funding=funding_of(settings, funding, candles, symbol),
        trials=trial_store(settings).of(symbol),
        since=since,
        step=step,
        walking=walking,
    )
    about = {"model": model.name, "hash": model.hash, "symbol": symbol, "lags": list(model.card.lags)}
    return {**about, "candle": str(model.card.interval), "loss": model.card.loss, **found.document()}


def passes_of(folder: Path) -> int:
    """Return how many passes of training the walk of a model takes at most; none for a linear one."""
    learning = load(*read_model(places.model_path(str(folder), Path.cwd()))).card.learning
    return 0 if learning is None else FOLDS * learning.epochs


def portfolio_evidence(
    settings: Settings, file: tuple[Path, str], choice: TapeChoice, *, step: Callable[[], object]
) -> dict[str, Any]:
    """Judge a portfolio over a candle file of many symbols, and count its settings among those that were tried.

    Judged on the whole file, the verdict is kept: it is what the daemon goes by.

    Raises:
        ConfigError: the strategy file cannot be used, or no candle file is named.
        DataError: candles or funding cannot be used.
    """
    path, text = file
    market = read_market(choice, Interval.parse(PortfolioFile.parse(text, str(path)).interval))
    portfolio = compose_portfolio(text, str(path), market.candles["symbol"].unique().to_list())
    found = weighed(settings, portfolio, market, since=choice.start, step=step)
    if choice.start is None:
        # a stretch that somebody picked says nothing of the whole
        now, forecaster = datetime.now(UTC), portfolio.strategy.forecaster
        verdicts(settings).keep(portfolio.file, forecaster, found.document(), now)
    count = f"{len(portfolio.strategy.symbols)} symbols"
    about = {"model": portfolio.strategy.name, "hash": portfolio.hash, "symbol": count}
    candle = str(portfolio.strategy.interval)
    return {**about, "candle": candle, "excluded": dict(market.excluded), **found.document()}


def weighed(
    settings: Settings,
    portfolio: Portfolio,
    market: Market,
    *,
    since: datetime | None = None,
    step: Callable[[], object] | None = None,
) -> Evidence:
    """Judge a portfolio, and record its settings as a trial; the same settings on the same candles count once.

    Another interval is another setting of the same rule.
    """
    strategy = portfolio.strategy
    candles = market.candles.filter(pl.col("symbol").is_in(list(strategy.symbols)))
    candles = resample(candles, market.source, strategy.interval)
    own = Trial(
        symbol=portfolio.file.kind,
        interval=strategy.interval,
        lags=(),
        loss="",
        data_hash=data_hash(candles),
        first_close=candles["close_time"].to_list()[0],
        last_close=max(candles["close_time"].to_list()),
        rows=candles.height,
        sharpe=None,
        closes=0,
        purpose="evidence",
        kind=portfolio.file.kind,
        detail=rule_hash(portfolio.file),
    )
    store = trial_store(settings)
    tried = [one for one in store.of(own.symbol) if one.detail != own.detail]
    found = judge_basket(
        strategy,
        candles,
        costs_of(settings),
        known=sharpes(tried, strategy.interval).tolist(),
        trials=len({one.detail for one in tried}) + 1,
        since=since,
        step=step,
    )
    ratio = found.numbers["performance"]["sharpe"]
    per_candle = None if ratio is None else ratio / strategy.interval.per_year**0.5
    store.record([replace(own, sharpe=per_candle, closes=found.numbers["horizon"]["closes"])])
    return found


def trial_store(settings: Settings) -> TrialStore:
    """Return where fits are counted."""
    return TrialStore(settings.data_dir / "store")
