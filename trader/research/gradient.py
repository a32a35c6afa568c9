"""Fits that need a gradient: smooth losses by damped Newton steps in torch, and the loop the research trained with.

Residuals are measured in robust deviations of the target (1.4826 times its median absolute deviation), so that a loss
means the same for any coin. Everything is float64 and starts from least squares, so the same rows give the same fit.
torch is imported only when a fit is made.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trader.errors import DataError, ModelError
from trader.forecast.fit import Array, Fit

SMOOTH = {
    "huber": "Huber's loss, quadratic within 1.345 robust deviations",
    "log-cosh": "the logarithm of the hyperbolic cosine",
    "student-t": "Student's t likelihood with 4 degrees of freedom",
    "expectile-40": "squares, of which underestimates weigh 0.4 and overestimates 0.6",
    "quantile-40": "the smoothed quantile loss: underestimates weigh 0.4 and overestimates 0.6, quadratic near zero",
}
ADAM = "l1-adam"

_FLAT = 1e-10  # a gradient this small, per row and robust deviation, is the end
_STEPS = 300
_ROUNDED = 0.1  # robust deviations around zero in which the quantile loss has no corner, so that its slope ends


@dataclass(frozen=True, slots=True)
class GradientFit:
    """A fit and how it ended: `gradient` is the largest slope of the mean loss left, `steps` how many were made.

    The `gap` of the fit is what one more Newton step promises: an estimate, where the exact fits prove theirs.
    """

    fit: Fit
    gradient: float
    steps: int

    @property
    def ended(self) -> bool:
        """Whether the loss is flat where it stopped."""
        return self.gradient <= _FLAT


def fit_smooth(features: Array, target: Array, used: NDArray[np.bool_], loss: str) -> list[GradientFit]:
    """Fit one of `SMOOTH` to many problems at once: `features` (fits, rows, lags), `target` (fits, rows), `used`.

    `Fit.loss` is the mean loss in its own unit. A lag that says nothing of its own shares its weight with the others.

    Raises:
        DataError: too few rows, or numbers that are not finite.
        ModelError: torch is not installed.
    """
    fits, rows, lags = features.shape
    if rows <= lags:
        raise DataError(f"{rows} rows are too few to fit {lags} lags and a bias; give a longer history or fewer lags.")
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise DataError("A return to be fitted is NaN or infinite; look at the candles it comes from.")
    scale = _robust(target)
    spread = features.std(axis=1)
    spread[spread == 0] = 1.0
    design = np.concatenate([np.ones((fits, rows, 1)), features / spread[:, None] * used[:, None]], axis=2)
    parameters, losses, promised, gradient, steps = _newton(design, target / scale[:, None], loss)
    parameters *= scale[:, None]
    parameters[:, 1:] /= spread
    return [
        GradientFit(
            Fit(tuple(parameters[fit, 1:][used[fit]].tolist()), float(parameters[fit, 0]), losses[fit], promised[fit]),
            gradient[fit],
            steps[fit],
        )
        for fit in range(fits)
    ]


def fit_adam(features: Array, target: Array, *, epochs: int = 5000, rate: float = 5e-4, seed: int = 0) -> GradientFit:
    """Train one linear layer on the whole batch with Adam and an absolute loss in float32, as the research did.

    It stops after so many epochs wherever it is, which on a loss this flat says more about `rate` than about the rows;
    `fit_l1` is exact. `features` is (rows, lags), `target` (rows,).
    """
    torch = _torch()
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.tensor(features, dtype=torch.float32)
    outputs = torch.tensor(target, dtype=torch.float32)
    reach = features.shape[1] ** -0.5
    weights = torch.empty(features.shape[1]).uniform_(-reach, reach, generator=generator).requires_grad_()
    bias = torch.empty(1).uniform_(-reach, reach, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([weights, bias], lr=rate)
    for _ in range(epochs):
        optimiser.zero_grad()
        (inputs @ weights + bias - outputs).abs().mean().backward()
        optimiser.step()
    found, level = weights.detach().double().numpy(), float(bias.item())
    residuals = target - level - features @ found
    slopes = np.abs(np.concatenate([[np.sign(residuals).mean()], features.T @ np.sign(residuals) / len(target)]))
    fit = Fit(tuple(found.tolist()), level, float(np.abs(residuals).mean()), float("nan"))
    return GradientFit(fit, float(slopes.max()), epochs)


def _newton(design: Array, target: Array, loss: str) -> tuple[Array, list[float], list[float], list[float], list[int]]:
    """Go down by Newton steps, each damped until it lowers the loss of its own fit."""
    torch = _torch()
    inputs, outputs = torch.from_numpy(np.ascontiguousarray(design)), torch.from_numpy(np.ascontiguousarray(target))
    rows = design.shape[1]
    unit = torch.eye(design.shape[2], dtype=torch.float64)
    turned = inputs.transpose(1, 2)
    parameters = torch.linalg.solve(turned @ inputs + 1e-9 * rows * unit, turned @ outputs[:, :, None])[:, :, 0]
    damping = torch.full((len(design), 1, 1), 1e-8, dtype=torch.float64)
    steps = np.zeros(len(design), dtype=int)

    def slopes_at(point: Any) -> tuple[Any, Any, Any]:
        residuals = (outputs - (inputs @ point[:, :, None])[:, :, 0]).requires_grad_()
        each = _each(torch, residuals, loss)
        (first,) = torch.autograd.grad(each.sum(), residuals, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), residuals)
        gradient = -(turned @ first.detach()[:, :, None])[:, :, 0] / rows
        curvature = turned @ (inputs * second.clamp(min=0.0)[:, :, None]) / rows
        return each.detach().mean(dim=1), gradient, curvature

    value, gradient, curvature = slopes_at(parameters)
    for _ in range(_STEPS):
        moving = gradient.abs().amax(dim=1) > _FLAT / 100
        if not bool(moving.any()):
            break
        step = torch.linalg.solve(curvature + damping * unit, gradient[:, :, None])[:, :, 0]
        there = slopes_at(parameters - step)
        # At the very end the loss no longer falls by anything that can be written; a smaller slope is progress too.
        better = (there[0] < value) | ((there[0] <= value * (1 + 1e-15)) & _flatter(there[1], gradient))
        better &= moving
        steps[better.numpy()] += 1
        damping = torch.where(better[:, None, None], damping / 10, damping * 10).clamp(1e-12, 1e12)
        parameters = torch.where(better[:, None], parameters - step, parameters)
        value = torch.where(better, there[0], value)
        gradient = torch.where(better[:, None], there[1], gradient)
        curvature = torch.where(better[:, None, None], there[2], curvature)
    step = torch.linalg.solve(curvature + 1e-12 * unit, gradient[:, :, None])[:, :, 0]
    promised = ((gradient * step).sum(dim=1) / 2).clamp(min=0.0)
    return parameters.numpy(), value.tolist(), promised.tolist(), gradient.abs().amax(dim=1).tolist(), steps.tolist()


def _flatter(there: Any, here: Any) -> Any:
    return there.abs().amax(dim=1) < here.abs().amax(dim=1)


def _each(torch: Any, residuals: Any, loss: str) -> Any:
    """Return the loss of each residual (target minus forecast)."""
    if loss == "huber":
        size = residuals.abs()
        return torch.where(size <= 1.345, residuals**2 / 2, 1.345 * size - 1.345**2 / 2)
    if loss == "log-cosh":
        size = residuals.abs()
        return size + torch.nn.functional.softplus(-2 * size) - float(np.log(2))
    if loss == "student-t":
        return 2.5 * torch.log1p(residuals**2 / 4)
    side = 0.6 - 0.2 * (residuals > 0).double()
    if loss == "quantile-40":
        size = residuals.abs()
        return side * torch.where(size <= _ROUNDED, residuals**2 / (2 * _ROUNDED), size - _ROUNDED / 2)
    return side * residuals**2


def _robust(target: Array) -> Array:
    middle = np.median(target, axis=1)
    scale = 1.4826 * np.median(np.abs(target - middle[:, None]), axis=1)
    scale = np.where(scale > 0, scale, target.std(axis=1))
    return np.asarray(np.where(scale > 0, scale, 1.0))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            "This loss needs torch, which is not installed; run `make setup`, or use l1 or mse."
        ) from error
    return torch
