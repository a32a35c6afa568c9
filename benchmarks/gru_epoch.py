"""One pass of a recurrent network over 60,000 candles: all steps of whole windows, beside a window a candle.

The research's way reads every window of 512 candles for its last step alone, unscaled ratios, with torch. A whole
pass of it takes minutes: some of its steps are timed, and scaled.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.frame import Check, Row, Skipped
from trader.research.recurrent import Array, Recipe, train_gru

_ROWS, _LATER, _WINDOW, _BATCH = 60_000, 9_000, 512, 128
_SAMPLED = 13  # steps of the research's way that are taken, as many as one pass of ours takes
_PASSES = 4  # of ours, whose validation loss is compared


def measure() -> Row:
    closes = _closes()
    recipe = Recipe(window=_WINDOW, layers=3, width=16, epochs=1)
    ours = min(_seconds(closes, recipe) for _ in range(3))
    step, loss = _research(closes)
    steps = (_ROWS - _LATER - _WINDOW) / _BATCH
    found = train_gru(closes, _LATER, replace(recipe, epochs=_PASSES))
    reached = found.epochs[found.best - 1].validation_loss
    return Row(
        "GRU epoch, 60k bars, seq 512",
        ours,
        {
            "a window a candle": Check.faster(ours, step * steps, 50),
            "validation loss": Check.true(reached <= loss, "no greater than theirs", reached - loss),
        },
        f"one thread each, the quickest of several; theirs: {_SAMPLED} of {steps:.0f} steps timed, scaled, and a "
        f"validation loss of {loss:.5f} after them; ours: {reached:.5f} after {_PASSES} passes; a generated market",
    )


def _closes() -> Array:
    """Return closes of a market that turns back a little more often than not."""
    rng = np.random.default_rng(6)
    shocks = rng.standard_t(4, _ROWS) * 0.001
    returns = np.empty(_ROWS)
    before = 0.0
    for row, shock in enumerate(shocks):
        before = returns[row] = shock - 0.08 * before
    return np.asarray(100 * np.exp(np.cumsum(returns)))


def _seconds(closes: Array, recipe: Recipe) -> float:
    begin = time.perf_counter()
    train_gru(closes, _LATER, recipe)
    return time.perf_counter() - begin


def _research(closes: Array) -> tuple[float, float]:
    """Return the seconds of the quickest step and the validation loss after those that were taken."""
    try:
        import torch
    except ImportError as missing:
        raise Skipped("torch is not installed") from missing
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ratios = torch.from_numpy((closes[1:] / closes[:-1]).astype(np.float32))
    up = (ratios > 1).long()
    cell = torch.nn.GRU(1, 16, 3, batch_first=True)
    head = torch.nn.Linear(16, 2)
    optimiser = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-3)

    def loss(starts: Any) -> Any:
        last = head(cell(ratios[starts[:, None] + np.arange(_WINDOW)][:, :, None])[0][:, -1])
        return torch.nn.functional.cross_entropy(last, up[starts + _WINDOW])

    rng = np.random.default_rng(0)
    starts = rng.permutation(len(ratios) - _LATER - _WINDOW)
    spent = []
    for number in range(_SAMPLED):
        begin = time.perf_counter()
        optimiser.zero_grad()
        loss(starts[number * _BATCH : (number + 1) * _BATCH]).backward()
        optimiser.step()
        spent.append(time.perf_counter() - begin)
    with torch.no_grad():
        later = rng.choice(np.arange(len(ratios) - _LATER, len(ratios) - _WINDOW), 1000, replace=False)
        return min(spent), float(loss(later))
