"""A network's pass back and its steps are those of torch, which keeps account of every operation instead."""

from typing import Any

import numpy as np
import pytest

from trader.research.network import Network, Weights, drawn
from trader.research.recurrent import Recipe, loss_of

torch = pytest.importorskip("torch", reason="torch is the oracle here")

STEPS, SEQUENCES = 12, 5


class Oracle:
    """torch's own layers in float64, with the same weights, loss and optimiser."""

    def __init__(self, weights: Weights, recipe: Recipe) -> None:
        self.recipe = recipe
        self.cell = torch.nn.GRU(1, recipe.width, recipe.layers).double()
        self.head = torch.nn.Linear(recipe.width, 2).double()
        self.named = {
            **dict(self.cell.named_parameters()),
            **{f"head.{name}": value for name, value in self.head.named_parameters()},
        }
        with torch.no_grad():
            for name, value in self.named.items():
                value.copy_(torch.from_numpy(weights[name]))
        self.optimiser = torch.optim.Adam(self.named.values(), lr=recipe.rate)

    def loss(self, inputs: Any, following: Any) -> Any:
        scores = self.head(self.cell(torch.from_numpy(inputs)[:, :, None])[0])
        after = torch.from_numpy(following)
        if self.recipe.overlapping:
            scores, after = scores[-1:], after[-1:]
        if self.recipe.objective == "cross-entropy":
            return torch.nn.functional.cross_entropy(scores.flatten(0, 1), (after > 0).long().flatten())
        held = torch.softmax(scores, dim=2)[..., 1] - torch.softmax(scores, dim=2)[..., 0]
        traded = torch.diff(held, dim=0).abs().sum() + held[0].abs().sum()
        return -((held * after).sum() - self.recipe.cost * traded) / after.numel()


@pytest.mark.parametrize("objective", ["cross-entropy", "profit"])
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize(("layers", "width"), [(1, 3), (3, 4)])
def test_losses_slopes_and_steps_are_those_of_torch(objective: Any, overlapping: bool, layers: int, width: int) -> None:
    recipe = Recipe(
        window=STEPS, layers=layers, width=width, objective=objective, overlapping=overlapping, rate=0.02, cost=0.3
    )
    rng = np.random.default_rng(layers)
    network = Network(drawn(layers, width, rng), recipe.rate)
    oracle = Oracle(network.weights, recipe)
    for turn in range(4):
        inputs = rng.normal(size=(STEPS, SEQUENCES))
        # the second step has a gradient so long that it is cut
        following = rng.normal(size=(STEPS, SEQUENCES)) * (50.0 if turn == 1 else 1.0)
        passed = network.forward(inputs)
        loss, slopes = loss_of(passed.scores, following, recipe)
        gradient = network.gradient(slopes, passed)
        oracle.optimiser.zero_grad()
        theirs = oracle.loss(inputs, following)
        theirs.backward()
        assert loss == pytest.approx(theirs.item(), rel=1e-10)
        for name, value in oracle.named.items():
            assert gradient[name] == pytest.approx(value.grad.numpy(), rel=1e-8, abs=1e-12), name
        torch.nn.utils.clip_grad_norm_(oracle.named.values(), 1.0)
        network.learn(gradient)
        oracle.optimiser.step()
        for name, value in oracle.named.items():
            assert network.weights[name] == pytest.approx(value.detach().numpy(), rel=1e-7, abs=1e-10), name


def test_weights_begin_within_one_over_the_root_of_the_width() -> None:
    weights = drawn(2, 16, np.random.default_rng(0))
    assert set(weights) == {
        *(f"{part}_l{number}" for number in (0, 1) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        "head.weight",
        "head.bias",
    }
    assert 0.2 < max(float(np.abs(value).max()) for value in weights.values()) <= 0.25
