"""The L1 fit of every subset of four lags over 1,230 rows."""

import numpy as np

from benchmarks.frame import Check, Row, interleaved
from benchmarks.l1_ways import EPOCHS, LAGS, adam, highs, median_regression, rows
from trader.forecast.fit import Fit, fit_l1_each, subsets

_ROWS = 1230
_SAMPLED = 100  # epochs of the loop that are timed; each takes as long as any other


def measure() -> Row:
    features, target = rows(_ROWS)
    used = subsets(LAGS, LAGS)
    parts = [np.ascontiguousarray(features[:, columns]) for columns in used]

    def ours() -> list[Fit]:
        return fit_l1_each(
            np.broadcast_to(features, (len(used), *features.shape)),
            np.broadcast_to(target, (len(used), len(target))),
            used,
        )

    def with_adam() -> None:
        for part in parts:
            adam(part, target, _SAMPLED)

    def with_highs() -> list[float]:
        return [highs(part, target) for part in parts]

    def with_sklearn() -> None:
        for part in parts:
            median_regression(part, target)

    ways = [ours, with_adam, with_highs]
    note = f"Adam: {_SAMPLED} of {EPOCHS} epochs timed, scaled; HiGHS: the dual programme, the fastest form"
    try:
        median_regression(parts[0], target)
        ways.append(with_sklearn)
    except ImportError:
        note += "; scikit-learn is not installed"
    seconds, sampled, programme, *peers = interleaved(*ways)
    worst = max(fit.loss - loss for fit, loss in zip(ours(), with_highs(), strict=True))
    checks = {
        "adam": Check.faster(seconds, sampled * EPOCHS / _SAMPLED, 500),
        "highs": Check.faster(seconds, programme, 5),
        "loss": Check.true(worst <= 1e-12, "loss <= linear programme + 1e-12", worst),
    }
    if peers:
        checks["sklearn"] = Check.faster(seconds, peers[0], 5)
    return Row(f"L1 fit of the {len(used)} lag subsets, {_ROWS:,} rows", seconds, checks, note)
