"""The average of weights over a training, which is what a training keeps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Average:
    """The exponential moving average of weights at a decay of (1 + t)/(10 + t), `decay` at most; of 0 it is the last.

    Attributes:
        means: the average so far, `(weights,)`.
        step: how many steps are in it.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.weights, self.decay, self.step = [weight.detach() for weight in weights], decay, 0
        self.means = [weight.clone() for weight in self.weights]

    def add(self) -> None:
        """Take the weights as they are after a step; the first ones replace those before the training."""
        share = 1 - min(self.decay, (1 + self.step) / (10 + self.step)) if self.step else 1.0
        torch._foreach_lerp_(self.means, self.weights, share)
        self.step += 1

    def keep(self) -> None:
        """Let the weights be their average."""
        torch._foreach_copy_(self.weights, self.means)
