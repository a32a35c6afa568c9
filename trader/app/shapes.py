"""Train one network after another on the same candles, and set beside each other what they learned."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from trader.app.judging import trial_store
from trader.app.reporting import made_by
from trader.app.training import TrainingChoice, epochs_of, now
from trader.config import Settings
from trader.errors import ConfigError
from trader.forecast.artifact import Model
from trader.forecast.weights import tensors_of
from trader.research.evidence.trials import trial_of
from trader.research.recurrent import Recipe
from trader.research.train_recurrent import train_recurrent

Shape = tuple[int, int]  # layers, width

_SHAPE = re.compile(r"([0-9]{1,3})x([0-9]{1,4})", re.ASCII)
_MOST_LAYERS, _WIDEST = 8, 256  # as `train gru` has them

_SHOWN = (
    "n",
    "up",
    "down",
    "cross_entropy",
    "base_rate_cross_entropy",
    "win_rate",
    "sharpe",
    "discrete_net_sharpe",
    "discrete_net_ev",
    "proportional_net_sharpe",
    "proportional_net_ev",
)


def parse_shapes(text: str) -> list[Shape]:
    """Read shapes such as `1x8,3x16`, layers by width.

    Raises:
        ConfigError: one of them is none, or named twice.
    """
    shapes: list[Shape] = []
    for part in text.split(","):
        match = _SHAPE.fullmatch(part.strip())
        if match is None or not (1 <= int(match[1]) <= _MOST_LAYERS and 1 <= int(match[2]) <= _WIDEST):
            raise ConfigError(
                f"{part.strip()!r} is no shape of a network; write up to {_MOST_LAYERS} layers by a width of up to "
                f"{_WIDEST}, like 1x8,3x16."
            )
        shapes.append((int(match[1]), int(match[2])))
    if len(set(shapes)) != len(shapes):
        raise ConfigError(f"{text!r} names a shape twice; name each once.")
    return shapes


def said(shape: Shape) -> str:
    """Write a shape as it is read."""
    return f"{shape[0]}x{shape[1]}"


def compare_shapes(
    settings: Settings,
    choice: TrainingChoice,
    recipe: Recipe,
    shapes: Sequence[Shape],
    split: datetime | None,
    steps: Sequence[Callable[[], object]],
) -> dict[str, Any]:
    """Train a network of every shape by one recipe, record every fit, and return what each came to, the best first.

    The order is that of the validation loss, which stopped each training: what came after the split chooses nothing.
    `steps` has one a shape, called once a pass.
    """
    interval, candles = choice.history(settings)
    store = trial_store(settings)
    rows, symbol, new = [], "", 0
    for shape, step in zip(shapes, steps, strict=True):
        model = train_recurrent(
            candles,
            interval,
            replace(recipe, layers=shape[0], width=shape[1]),
            choice.test_size,
            name=said(shape),
            created=now(),
            split=split,
            step=step,
        )
        fit = trial_of(model.card, "shapes")
        new += 0 if fit is None else store.record([fit])
        symbol = model.card.symbol
        rows.append(_row(model))
    rows.sort(key=lambda row: row["validation_loss"])
    return {
        "symbol": symbol,
        "interval": str(interval),
        "objective": recipe.objective,
        "window": recipe.window,
        "shapes": rows,
        "new": new,
        "trials": len(store.of(symbol)),
    }


def _row(model: Model) -> dict[str, Any]:
    card, network, learning = model.card, model.card.network, model.card.learning
    assert network is not None and learning is not None  # noqa: S101, PT018  # a recurrent model has both
    kept = learning.passes[learning.best - 1]
    return {
        "layers": network.layers,
        "width": network.width,
        "numbers": sum(tensor.size for name, tensor in tensors_of(model.forecaster).items() if name != "scale"),
        "best": learning.best,
        "train_loss": kept.train_loss,
        "validation_loss": kept.validation_loss,
        **{period: {name: card.metrics[period].get(name) for name in _SHOWN} for period in card.metrics},
        "epochs": epochs_of(card),
    }


def require_page(out: Path | None) -> None:
    """Refuse a page that cannot be written, before anything is trained and counted.

    Raises:
        ConfigError: its folder is none, or it is one itself.
    """
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        why = "it is a folder" if out.is_dir() else "its folder does not exist"
        raise ConfigError(f"{out} cannot be written: {why}; choose another --out.")


def draw_shapes(document: Mapping[str, Any], out: Path) -> None:
    """Write the page of networks that were trained side by side.

    Raises:
        ConfigError: it cannot be written.
    """
    # Drawing is slow to import, and nobody else needs it.
    from trader.research.report.page import render_shapes

    try:
        out.write_text(render_shapes(document, made_by()))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; choose another --out.") from error
