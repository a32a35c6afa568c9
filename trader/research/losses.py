"""The losses a model can be fitted by, exactly or by gradient, under one name each."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trader.errors import ConfigError
from trader.forecast.fit import Array, Fit, fit_l1_each, fit_mse
from trader.research.gradient import ADAM, SMOOTH, GradientFit, fit_adam, fit_smooth

REFITTED = ("l1", "mse", *SMOOTH)  # by fits quick enough to be made again for every window and every rival
LOSSES = (*REFITTED, ADAM)

Tell = Callable[[float, str], object]  # the share that is done (from 0 to 1), and a few words

TOGETHER = 256  # fits made at once, which bounds the memory they need
_EXACT = {"l1": "least absolute deviations, exact (vertex descent)", "mse": "ordinary least squares, closed form"}


def check_loss(loss: str) -> None:
    """Refuse a loss that is none of `LOSSES`.

    Raises:
        ConfigError: there is no such loss.
    """
    if loss not in LOSSES:
        raise ConfigError(f"There is no fit for the loss {loss!r}; choose one of {', '.join(LOSSES)}.")


def fit_each(features: Array, target: Array, used: NDArray[np.bool_], loss: str, tell: Tell | None = None) -> list[Fit]:
    """Fit many problems of equal length: `features` (fits, rows, lags), `target` (fits, rows), `used` (fits, lags).

    Each fit is as if it were alone. `tell` is told how many are done, every few hundred.

    Raises:
        ConfigError: there is no such loss.
        DataError: the rows cannot be fitted.
        ModelError: the loss needs torch, which is not installed.
    """
    check_loss(loss)
    found: list[Fit] = []
    together = 1 if loss == ADAM else TOGETHER
    for start in range(0, len(used), together):
        if tell is not None:
            tell(start / len(used), f"{start:,} of {len(used):,} fits")
        part = slice(start, start + together)
        found += _fit_together(features[part], target[part], used[part], loss)
    return found


def _fit_together(features: Array, target: Array, used: NDArray[np.bool_], loss: str) -> list[Fit]:
    if loss == "l1":
        return fit_l1_each(features, target, used)
    if loss == "mse":
        return [fit_mse(some[:, lags], goal) for some, goal, lags in zip(features, target, used, strict=True)]
    return [found.fit for found in _by_gradient(features, target, used, loss)]


def fit_one(features: Array, target: Array, loss: str) -> tuple[Fit, str]:
    """Fit one problem, (rows, lags) and (rows,), and say how it was fitted and how it ended.

    Raises:
        ConfigError, DataError, ModelError: as `fit_each`.
    """
    check_loss(loss)
    used = np.ones((1, features.shape[1]), dtype=bool)
    if loss in _EXACT:
        return fit_each(features[None], target[None], used, loss)[0], _EXACT[loss]
    (found,) = _by_gradient(features[None], target[None], used, loss)
    if loss == ADAM:
        said = f"Adam on the whole batch, {found.steps} epochs; it stopped on a slope of {found.gradient:.1e}"
    elif found.ended:
        said = f"{SMOOTH[loss]}; Newton's method until the slope was nothing"
    else:
        said = f"{SMOOTH[loss]}; Newton's method stopped on a slope of {found.gradient:.1e} after {found.steps} steps"
    return found.fit, said


def _by_gradient(features: Array, target: Array, used: NDArray[np.bool_], loss: str) -> list[GradientFit]:
    if loss == ADAM:
        return [
            fit_adam(np.ascontiguousarray(some[:, lags]), goal)
            for some, goal, lags in zip(features, target, used, strict=True)
        ]
    return fit_smooth(features, target, used, loss)
