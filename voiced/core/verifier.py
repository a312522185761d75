"""Whose voice was it? openWakeWord's speaker verifier: logistic regression on the embeddings that a score was made of.

Source: openwakeword 0.5.1, custom_verifier_model.py: features flattened, standardised, then scikit-learn's logistic
regression with C = 0.001. That problem has one solution, which a few steps of Newton's method find with numpy alone.
"""

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

STRENGTH = 0.001
"""How much a wrong answer weighs against the size of the weights (scikit-learn's C)."""

CONSULTED = 0.1
"""Score of the wake word from which the verifier is asked, as in openWakeWord."""

_STEPS = 50
_ENOUGH = 1e-10


class Refused(float):
    """A score of 0, because another voice than the word's said it.

    Attributes:
        said: What the word itself scored.

    """

    def __new__(cls, said: float) -> Self:
        """Take what the word scored."""
        refused = super().__new__(cls, 0.0)
        refused.said = said
        return refused

    said: float


@dataclass(frozen=True, slots=True)
class Verifier:
    """Tells how probable it is that the person it was trained on said the word."""

    weights: Doubles
    """For embeddings as they are, shape (window, 96): standardisation is part of them."""
    bias: float

    def __call__(self, embeddings: Floats) -> float:
        """Return the probability, 0 to 1, for the embeddings of a score, shape (window, 96)."""
        return float(_logistic(np.vdot(self.weights, embeddings) + self.bias))


def train(own: Floats, others: Floats) -> Verifier:
    """Return what tells one from the other.

    Args:
        own: Embeddings of steps in which the person said the word, shape (steps, window, 96).
        others: Of steps in which anything else was said, or by anybody else; the same shape.

    Raises:
        ValueError: If there are none of one of them.

    """
    if not len(own) or not len(others):
        raise ValueError("a verifier needs examples of both: the person's word, and other speech")
    shape = own.shape[1:]
    examples = np.concatenate((own, others)).reshape(len(own) + len(others), -1).astype(np.float64)
    wanted = np.repeat((1.0, 0.0), (len(own), len(others)))
    mean, deviation = examples.mean(axis=0), examples.std(axis=0)
    deviation[deviation == 0] = 1.0
    standard = (examples - mean) / deviation
    # The weights are a sum of examples, so where there are few, few numbers say all.
    basis, examples = np.linalg.qr(standard.T)
    solved = _solve(examples.T, wanted)
    weights = basis @ solved[:-1] / deviation
    return Verifier(weights.reshape(shape), float(solved[-1] - weights @ mean))


def _solve(examples: Doubles, wanted: Doubles) -> Doubles:
    """Return the weights, and behind them the bias, with the least loss; the bias costs nothing."""
    columns = np.column_stack((examples, np.ones(len(examples))))
    cost = np.ones(columns.shape[1])
    cost[-1] = 0.0
    weights = np.zeros(columns.shape[1])
    loss = _loss(columns, wanted, cost, weights)
    for _ in range(_STEPS):
        found = _logistic(columns @ weights)
        slope = cost * weights + STRENGTH * columns.T @ (found - wanted)
        bend = STRENGTH * (columns * (found * (1 - found))[:, None]).T @ columns
        bend[np.diag_indices_from(bend)] += cost
        step = np.linalg.solve(bend, slope)
        if slope @ step < _ENOUGH:
            break
        while (tried := _loss(columns, wanted, cost, weights - step)) > loss:
            step /= 2
            if not np.any(weights - step != weights):
                return weights
        weights, loss = weights - step, tried
    return weights


def _loss(columns: Doubles, wanted: Doubles, cost: Doubles, weights: Doubles) -> float:
    values = columns @ weights
    return float(np.sum(cost * weights**2) / 2 + STRENGTH * np.sum(np.logaddexp(0.0, values) - wanted * values))


def _logistic(value: Any) -> Any:
    return np.tanh(value / 2) / 2 + 0.5  # never overflows
