"""Write a report: a run told as one page that carries everything inside itself."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trader import __version__
from trader.app.backtesting import Played, Tell, play
from trader.app.judging import weighed
from trader.app.portfolios import PlayedPortfolio, play_portfolio, portfolio_text
from trader.app.stored import Stored, unstored
from trader.app.strategies import Loaded
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.errors import ConfigError
from trader.forecast.card import Card
from trader.research.report.story import Judged, Story, closes_of, stops_of


def report_backtest(
    settings: Settings,
    choice: TapeChoice,
    cycles: int | None,
    out: Path | None,
    png: Path | None,
    *,
    stored: Stored | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Backtest, write the page, and where a folder is named every figure as a picture.

    Raises:
        ConfigError: page or pictures cannot be written.
    """
    # Drawing is slow to import, and nobody else needs it.
    from trader.research.report.page import pictures, render

    portfolio = portfolio_text(settings)
    if portfolio is not None:
        chosen = unstored(choice, stored)
        story = portfolio_story(settings, play_portfolio(settings, portfolio, chosen, cycles, tell), chosen)
    else:
        played = play(settings, choice, cycles, stored=stored, tell=tell)
        story = story_of(played, choice.label if stored is None else f"{stored.symbol} of the store")
    if tell is not None:
        tell(1.0, "drawing")
    page = Path(f"{story.name}-backtest.html") if out is None else out
    text = render(story, made_by()).encode()
    drawn = pictures(story) if png is not None else {}
    try:
        page.write_bytes(text)
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)
            for name, picture in drawn.items():
                (png / f"{name}.png").write_bytes(picture)
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be written: {error.strerror}; choose another --out or --png."
        ) from error
    return {
        "strategy": story.name,
        "out": str(page),
        "bytes": len(text),
        "closes": story.closes.height,
        "verdict": story.judged.verdict,
        "reason": story.judged.reason,
        "pictures": [str(png / f"{name}.png") for name in drawn] if png is not None else [],
    }


def made_by() -> str:
    """Say what made a page, and when."""
    return f"Made by trader {__version__} on {datetime.now(UTC):%-d %B %Y at %H:%M}."


def story_of(played: Played, label: str) -> Story:
    """Tell a backtest."""
    strategy, result = played.loaded.strategy, played.result
    document = played.document()
    closes, costs = closes_of(result.closes, played.trades, result.bookings, result.start_equity)
    return Story(
        name=strategy.name,
        symbols=strategy.symbols,
        interval=strategy.interval,
        market="Backtest on a generated market" if played.generated else f"Backtest on {label}",
        start_equity=float(result.start_equity),
        closes=closes,
        costs=costs,
        trips=document["round_trips"],
        performance=document["performance"],
        judged=judged_of(played.loaded),
        stops=stops_of(result.closes),
    )


def portfolio_story(settings: Settings, played: PlayedPortfolio, choice: TapeChoice) -> Story:
    """Tell a backtest of a portfolio, with what its rule is worth on these candles."""
    strategy, result = played.portfolio.strategy, played.result
    document = played.document()
    closes, costs = closes_of(result.closes, played.trades, result.bookings, result.start_equity)
    found = weighed(settings, played.portfolio, played.market, since=choice.start)
    told = found.document()
    return Story(
        name=strategy.name,
        symbols=strategy.symbols,
        interval=strategy.interval,
        market=f"Backtest on {choice.label}",
        start_equity=float(result.start_equity),
        closes=closes,
        costs=costs,
        trips=document["round_trips"],
        performance=document["performance"],
        judged=Judged(strategy.name, found.verdict, found.reason, told["gates"], told),
        stops=stops_of(result.closes),
        portfolio=document["portfolio"],
    )


def judged_of(loaded: Loaded) -> Judged:
    """Return what a model's card says of its worth, or what was judged of a rule."""
    model, worth = loaded.model, loaded.worth
    if model is None:
        return Judged(worth.name, worth.verdict, worth.reason, worth.gates)
    card: dict[str, Any] = json.loads(model.card.to_bytes())
    return Judged(
        model=model.name,
        verdict=worth.verdict,
        reason=worth.reason,
        gates=worth.gates,
        evidence=card["evidence"],
        calibration=card["calibration"],
        unseen_after=None if model.card.training is None else model.card.training.last_close,
        metrics=card["metrics"],
        learning=None if model.card.learning is None else {**card["learning"], "said": _trained(model.card)},
    )


def _trained(card: Card) -> str:
    """Say how a recurrent model was trained."""
    return f"A recurrent network, {card.loss}. {card.method}."
