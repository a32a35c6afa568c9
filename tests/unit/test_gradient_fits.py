import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from trader.errors import ConfigError, DataError
from trader.forecast.fit import fit_l1, fit_mse, subsets
from trader.research.gradient import SMOOTH, fit_adam, fit_smooth
from trader.research.losses import LOSSES, fit_each, fit_one

Array = NDArray[np.float64]


def world(rows: int = 300, seed: int = 5) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    features = random.standard_t(3, (rows, 3)) * 0.02
    return features, features @ [-0.2, 0.1, 0.0] + 0.001 + random.standard_t(3, rows) * 0.02


def loss_of(residuals: Array, loss: str) -> float:
    """The mean loss, written a second time."""
    size = np.abs(residuals)
    each = {
        "huber": np.where(size < 1.345, size**2 / 2, 1.345 * (size - 1.345 / 2)),
        "log-cosh": np.log(np.cosh(residuals)),
        "student-t": 2.5 * np.log(1 + size**2 / 4),
        "expectile-40": np.where(residuals > 0, 0.4, 0.6) * size**2,
        "quantile-40": np.where(residuals > 0, 0.4, 0.6) * np.where(size < 0.1, 5 * size**2, size - 0.05),
    }
    return float(each[loss].mean())


@pytest.mark.parametrize("loss", SMOOTH)
def test_no_other_optimiser_finds_a_smaller_smooth_loss(loss: str) -> None:
    features, target = world()
    scale = 1.4826 * np.median(np.abs(target - np.median(target)))
    (found,) = fit_smooth(features[None], target[None], np.ones((1, 3), dtype=bool), loss)

    def mean(parameters: Array) -> float:
        return loss_of((target - parameters[0] - features @ parameters[1:]) / scale, loss)

    ours = mean(np.array([found.fit.bias, *found.fit.weights]))
    best = minimize(mean, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 5000})
    assert found.ended
    assert found.fit.loss == pytest.approx(ours, rel=1e-12)
    assert ours <= best.fun + 1e-12
    assert found.fit.gap <= 1e-18


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "l1-adam"])
def test_a_subset_fitted_among_others_is_the_subset_fitted_alone(loss: str) -> None:
    features, target = world()
    used = subsets(3, 3)
    many = fit_each(np.broadcast_to(features, (7, 300, 3)), np.broadcast_to(target, (7, 300)), used, loss)
    assert fit_each(np.broadcast_to(features, (7, 300, 3)), np.broadcast_to(target, (7, 300)), used, loss) == many
    for fit, lags in zip(many, used, strict=True):
        alone, _ = fit_one(np.ascontiguousarray(features[:, lags]), target, loss)
        assert fit.weights == pytest.approx(alone.weights, abs=1e-11)
        assert fit.loss == pytest.approx(alone.loss, rel=1e-12)


def test_a_card_says_how_a_fit_ended() -> None:
    features, target = world()
    assert fit_one(features, target, "l1") == (
        fit_l1(features, target),
        "least absolute deviations, exact (vertex descent)",
    )
    assert fit_one(features, target, "mse") == (fit_mse(features, target), "ordinary least squares, closed form")
    assert fit_one(features, target, "huber")[1].endswith("Newton's method until the slope was nothing")


def test_the_loop_of_the_research_stops_above_the_exact_fit_and_admits_its_slope() -> None:
    features, target = world()
    stopped = fit_adam(features, target, epochs=400, rate=1e-3, seed=1)
    assert stopped.fit.weights == fit_adam(features, target, epochs=400, rate=1e-3, seed=1).fit.weights
    assert stopped.fit.loss > fit_l1(features, target).loss
    assert stopped.gradient > 1e-6
    assert not stopped.ended


def test_what_cannot_be_fitted_by_gradient_is_refused() -> None:
    features, target = world()
    with pytest.raises(ConfigError, match="no fit for the loss 'hinge'; choose one of l1, mse, huber"):
        fit_one(features, target, "hinge")
    with pytest.raises(DataError, match="3 rows are too few to fit 3 lags"):
        fit_one(features[:3], target[:3], "huber")
    with pytest.raises(DataError, match="NaN or infinite"):
        fit_one(features * np.inf, target, "huber")


def test_a_series_that_never_moves_is_fitted_by_nothing() -> None:
    for loss in SMOOTH:
        fit, _ = fit_one(np.zeros((20, 2)), np.zeros(20), loss)
        assert fit.weights == pytest.approx((0.0, 0.0), abs=1e-12)
        assert fit.bias == pytest.approx(0.0, abs=1e-12)


def test_knowing_the_losses_imports_no_torch(root: Path) -> None:
    code = "import trader.research.walkforward, trader.research.losses, sys; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
