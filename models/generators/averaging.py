"""The moving average of weights, which is the result of a training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Average:
    """The exponential moving average of weights with decay min(`decay`, (1 + t)/(10 + t)); 0 keeps the last weights.

    Attributes:
        means: the average so far, one tensor per weight.
        step: number of steps averaged.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.weights, self.decay, self.step = [weight.detach() for weight in weights], decay, 0
        self.means = [weight.clone() for weight in self.weights]

    def add(self) -> None:
        """Add the current weights; those of the first step replace the weights from before the training."""
        share = 1 - min(self.decay, (1 + self.step) / (10 + self.step)) if self.step else 1.0
        torch._foreach_lerp_(self.means, self.weights, share)
        self.step += 1

    def keep(self) -> None:
        """Replace the weights by their average."""
        torch._foreach_copy_(self.weights, self.means)
