"""72,000 L1 fits: 200 symbols, 15 subsets of four lags, 24 folds of a year of 16h candles."""

import numpy as np

from benchmarks.frame import Check, Row, interleaved
from benchmarks.l1_ways import EPOCHS, LAGS, adam, rows
from trader.forecast.fit import Fit, fit_l1_each, subsets

_SYMBOLS, _FOLDS, _YEAR, _QUARTER = 200, 24, 548, 137
_SAMPLED_SYMBOLS, _SAMPLED_EPOCHS = 4, 100


def measure() -> Row:
    used = subsets(LAGS, LAGS)
    problems = [
        (features[start : start + _YEAR], target[start : start + _YEAR])
        for features, target in (rows(_YEAR + _FOLDS * _QUARTER, seed) for seed in range(_SAMPLED_SYMBOLS))
        for start in range(0, _FOLDS * _QUARTER, _QUARTER)
    ]
    each = (len(problems), len(used))
    features = np.array([features for features, _ in problems])[:, None].repeat(len(used), axis=1)
    target = np.array([target for _, target in problems])[:, None].repeat(len(used), axis=1)
    flat = features.reshape(-1, _YEAR, LAGS), target.reshape(-1, _YEAR), np.tile(used, (len(problems), 1))

    def ours() -> list[Fit]:
        return fit_l1_each(*flat)

    def with_adam() -> None:
        for columns in used:
            adam(np.ascontiguousarray(problems[0][0][:, columns]), problems[0][1], _SAMPLED_EPOCHS)

    seconds, sampled = interleaved(ours, with_adam, times=3)
    whole = _SYMBOLS / _SAMPLED_SYMBOLS
    baseline = sampled * EPOCHS / _SAMPLED_EPOCHS * _SYMBOLS * _FOLDS
    return Row(
        f"{_SYMBOLS * _FOLDS * len(used):,} L1 fits ({_SYMBOLS} symbols x {len(used)} x {_FOLDS} folds)",
        seconds * whole,
        {"adam": Check.faster(seconds * whole, baseline, 1000)},
        f"ours: {each[0] * each[1]:,} fits timed, scaled; Adam: {len(used)} fits of {_SAMPLED_EPOCHS} of {EPOCHS} "
        "epochs timed, scaled",
    )
