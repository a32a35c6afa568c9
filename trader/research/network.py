"""A gated recurrent network that learns: the pass forward, the pass back, and the step it takes; numpy alone.

The cell is that of Cho et al. (2014) with torch's order of the gates, the step that of Adam (Kingma and Ba, 2014). A
network this small spends its time between the sums and not in them: written out, a pass takes a sixth of what a
library's does that keeps account of every operation. Every sum runs in one order, so that the same seed gives the same
weights however many processors there are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[
    str, Array
]  # by torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..., head.weight, ...

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8
_CLIP = 1.0  # the longest step a gradient may ask for, because one wild window would undo many tame ones


def drawn(layers: int, width: int, rng: np.random.Generator) -> Weights:
    """Return weights to begin with, uniform up to one over the root of the width either way."""
    reach = width**-0.5
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(layers):
        own = ((3 * width, width if number else 1), (3 * width, width), (3 * width,), (3 * width,))
        shapes |= {f"{part}_l{number}": shape for part, shape in zip(PARTS, own, strict=True)}
    shapes |= {"head.weight": (2, width), "head.bias": (2,)}
    return {name: rng.uniform(-reach, reach, shape) for name, shape in shapes.items()}


@dataclass(frozen=True, slots=True)
class _Trace:
    """What a layer's pass back needs of its pass forward, (steps, width or inputs, sequences) each.

    `before` is the state before each step, `kept` what the new state took from it before the reset.
    """

    inputs: Array
    before: Array
    reset: Array
    update: Array
    fresh: Array
    kept: Array


@dataclass(frozen=True, slots=True)
class Forward:
    """A pass forward: both `scores` after every step (steps, 2, sequences), down first, and the way there."""

    scores: Array
    states: Array
    layers: list[_Trace]


class Network:
    """Layers of gated recurrent cells and a head of two scores, down first."""

    def __init__(self, weights: Weights, rate: float) -> None:
        """Begin with weights, which are changed in place, and a rate of learning."""
        self.weights = weights
        self._rate = rate
        self._layers = sum(name.startswith("weight_hh") for name in weights)
        self._mean = {name: np.zeros_like(value) for name, value in weights.items()}
        self._square = {name: np.zeros_like(value) for name, value in weights.items()}
        self._steps = 0

    def forward(self, inputs: Array) -> Forward:
        """Pass sequences through every layer, each from a state of zero; `inputs` is (steps, sequences)."""
        states, layers = inputs[:, None, :], []
        for number in range(self._layers):
            states, trace = self._forward(number, states)
            layers.append(trace)
        scores = np.matmul(self.weights["head.weight"], states) + self.weights["head.bias"][:, None]
        return Forward(scores, states, layers)

    def gradient(self, slopes: Array, passed: Forward) -> Weights:
        """Return the slope of a loss by every weight from its slopes by the scores of a pass."""
        found = {"head.weight": _outer(slopes, passed.states), "head.bias": slopes.sum(axis=(0, 2))}
        above = np.matmul(self.weights["head.weight"].T, slopes)
        for number in reversed(range(self._layers)):
            above = self._backward(number, passed.layers[number], above, found)
        return found

    def learn(self, gradient: Weights) -> None:
        """Take one step of Adam down a gradient, cut to a length of one."""
        length = float(np.sqrt(sum(float((part**2).sum()) for part in gradient.values())))
        cut = min(1.0, _CLIP / (length + 1e-6))
        self._steps += 1
        for name, part in gradient.items():
            slope = part * cut
            self._mean[name] += (1 - _DECAY) * (slope - self._mean[name])
            self._square[name] += (1 - _SQUARE_DECAY) * (slope**2 - self._square[name])
            mean = self._mean[name] / (1 - _DECAY**self._steps)
            deviation = np.sqrt(self._square[name] / (1 - _SQUARE_DECAY**self._steps))
            self.weights[name] -= self._rate * mean / (deviation + _TINY)

    def _forward(self, number: int, inputs: Array) -> tuple[Array, _Trace]:
        into, through, input_bias, state_bias = (self.weights[f"{part}_l{number}"] for part in PARTS)
        steps, width, sequences = len(inputs), through.shape[1], inputs.shape[2]
        given = np.matmul(into, inputs) + input_bias[:, None]
        given[:, : 2 * width] += state_bias[: 2 * width, None]
        states = np.zeros((steps + 1, width, sequences))
        gates = np.empty((steps, 2 * width, sequences))
        fresh, kept = np.empty((steps, width, sequences)), np.empty((steps, width, sequences))
        found = np.empty((3 * width, sequences))
        gated, taken, bias = found[: 2 * width], found[2 * width :], state_bias[2 * width :, None]
        for step in range(steps):
            gate, new, state = gates[step], fresh[step], states[step]
            np.matmul(through, state, out=found)
            np.add(given[step, : 2 * width], gated, out=gate)
            np.negative(gate, out=gate)
            np.exp(gate, out=gate)
            np.add(gate, 1.0, out=gate)
            np.reciprocal(gate, out=gate)
            np.add(taken, bias, out=kept[step])
            np.multiply(gate[:width], kept[step], out=new)
            np.add(given[step, 2 * width :], new, out=new)
            np.tanh(new, out=new)
            after = states[step + 1]
            np.subtract(state, new, out=after)
            np.multiply(gate[width:], after, out=after)
            np.add(new, after, out=after)
        return states[1:], _Trace(inputs, states[:-1], gates[:, :width], gates[:, width:], fresh, kept)

    def _backward(self, number: int, trace: _Trace, above: Array, found: Weights) -> Array:
        """Add a layer's slopes to what was found, and return those by its inputs."""
        into, through = self.weights[f"weight_ih_l{number}"], self.weights[f"weight_hh_l{number}"]
        width = through.shape[1]
        turned = np.ascontiguousarray(through.T)
        # each is the slope of what a gate or the new state was made of, but for that of the state
        by_fresh = (1.0 - trace.update) * (1.0 - trace.fresh**2)
        by_update = (trace.before - trace.fresh) * trace.update * (1.0 - trace.update)
        by_reset = trace.kept * trace.reset * (1.0 - trace.reset)
        slopes = np.empty((len(above), 4 * width, above.shape[2]))  # of reset, update, what was kept, and the new state
        carried = np.zeros(above.shape[1:])
        state, more = np.empty_like(carried), np.empty_like(carried)
        for step in range(len(above) - 1, -1, -1):
            np.add(above[step], carried, out=state)
            slope = slopes[step]
            new = slope[3 * width :]
            np.multiply(state, by_fresh[step], out=new)
            np.multiply(new, by_reset[step], out=slope[:width])
            np.multiply(state, by_update[step], out=slope[width : 2 * width])
            np.multiply(new, trace.reset[step], out=slope[2 * width : 3 * width])
            np.matmul(turned, slope[: 3 * width], out=carried)
            np.multiply(state, trace.update[step], out=more)
            np.add(carried, more, out=carried)
        by_state = slopes[:, : 3 * width]
        by_input = np.concatenate([slopes[:, : 2 * width], slopes[:, 3 * width :]], axis=1)
        found[f"weight_ih_l{number}"] = _outer(by_input, trace.inputs)
        found[f"weight_hh_l{number}"] = _outer(by_state, trace.before)
        found[f"bias_ih_l{number}"] = by_input.sum(axis=(0, 2))
        found[f"bias_hh_l{number}"] = by_state.sum(axis=(0, 2))
        return np.asarray(np.matmul(into.T, by_input))


def _outer(slopes: Array, values: Array) -> Array:
    """Return the sum over steps and sequences of slope times value."""
    return np.asarray(np.matmul(slopes, values.transpose(0, 2, 1)).sum(axis=0))
