import numpy as np
import pytest

from trader.errors import DataError
from trader.forecast.fit import fit_l1, fit_mse


def test_an_exact_line_is_found_without_loss() -> None:
    features = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0], [-4.0, 2.0]])
    target = 2.0 * features[:, 0] - 0.5 * features[:, 1] + 3.0
    for fit in (fit_l1(features, target), fit_mse(features, target)):
        assert fit.weights == pytest.approx((2.0, -0.5), abs=1e-14)
        assert fit.bias == pytest.approx(3.0, abs=1e-14)
        assert fit.loss == pytest.approx(0.0, abs=1e-14)


def test_one_outlier_moves_the_squares_and_not_the_absolute_fit() -> None:
    features = np.arange(9.0)[:, None]
    target = features[:, 0].copy()
    target[4] = 1000.0
    assert fit_l1(features, target).weights == (1.0,)
    assert fit_l1(features, target).bias == 0.0
    assert fit_mse(features, target).bias > 100


def test_a_lag_that_says_nothing_new_gets_no_weight() -> None:
    features = np.array([[1.0, 2.0, 7.0], [2.0, 4.0, 7.0], [4.0, 8.0, 7.0], [5.0, 10.0, 7.0]])
    fit = fit_l1(features, np.array([1.0, 2.0, 4.0, 9.0]))
    assert fit.weights == (1.0, 0.0, 0.0)
    assert fit.loss == 1.0


def test_returns_that_never_move_are_fitted_by_nothing() -> None:
    features, target = np.zeros((10, 2)), np.zeros(10)
    assert fit_l1(features, target) == fit_mse(features, target)
    assert fit_l1(features, target).weights == (0.0, 0.0)


@pytest.mark.parametrize("fit", [fit_l1, fit_mse])
def test_too_few_rows_or_numbers_that_are_not_finite_are_refused(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(DataError, match="2 rows are too few to fit 2 lags"):
        fit(np.ones((2, 2)), np.ones(2))
    with pytest.raises(DataError, match="NaN or infinite"):
        fit(np.array([[1.0], [np.nan], [2.0]]), np.ones(3))
