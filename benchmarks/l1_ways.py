"""The ways to fit the least absolute residual that ours is compared with, and rows to fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EPOCHS = 5000  # of the loop that the research trained with
LAGS = 4


def rows(count: int, seed: int = 7) -> tuple[Array, Array]:
    """Make returns like those of a coin (fat tails, a little reversal), as features of four lags and a target."""
    random = np.random.default_rng(seed)
    shocks = random.standard_t(3, count + LAGS) * 0.02
    returns = np.empty_like(shocks)
    before = 0.0
    for row, shock in enumerate(shocks):
        before = returns[row] = np.round(shock - 0.08 * before, 6)
    features = np.column_stack([returns[LAGS - lag : -lag] for lag in range(1, LAGS + 1)])
    return np.ascontiguousarray(features), returns[LAGS:]


def adam(features: Array, target: Array, epochs: int) -> tuple[Array, float]:
    """Train one linear layer on the whole batch with torch's Adam and an absolute loss, as the research did.

    On one thread, which is the fastest for tensors this small.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = torch.tensor(features, dtype=torch.float32)
    outputs = torch.tensor(target[:, None], dtype=torch.float32)
    layer = torch.nn.Linear(features.shape[1], 1)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
    measure = torch.nn.L1Loss()
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = measure(layer(inputs), outputs)
        loss.backward()
        optimiser.step()
    return layer.weight.detach().numpy()[0].astype(np.float64), float(layer.bias.item())


def highs(features: Array, target: Array) -> float:
    """Return the least mean absolute residual by scipy's HiGHS (dual simplex), in the form it solves fastest."""
    bias, *weights = highs_parameters(features, target)
    return float(np.abs(target - bias - features @ np.array(weights)).mean())


def highs_parameters(features: Array, target: Array) -> Array:
    """Return bias and weights by HiGHS from the dual programme.

    That has as many variables as rows, between -1 and 1, and one equation a parameter; the multipliers of these
    equations are the parameters, with the sign turned.
    """
    from scipy.optimize import linprog

    design = np.column_stack([np.ones(len(target)), features])
    solved = linprog(-target, A_eq=design.T, b_eq=np.zeros(design.shape[1]), bounds=(-1, 1), method="highs-ds")
    return np.asarray(-solved.eqlin.marginals)


def median_regression(features: Array, target: Array) -> Any:
    """Fit sklearn's median regression, which solves the same programme."""
    from sklearn.linear_model import QuantileRegressor

    return QuantileRegressor(quantile=0.5, alpha=0.0, solver="highs").fit(features, target)
