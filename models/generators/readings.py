"""Read the losses of a training: each as soon as it is computed, or rarely where reading makes the CPU wait."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from royalty.models.generators.draws import Draws
from royalty.models.generators.generator import DivergedError

READ_EVERY = 50
"""Steps after which losses are read from a device of `draws.DRAWN_THERE`; reading waits for all work that is queued
there."""


class Readings:
    """The losses of a training.

    Args:
        draws: of the training.
        steps: of the whole training.
        done: rows of the steps before an interruption.

    Attributes:
        rows: the losses that were read so far, one row a step.
    """

    def __init__(self, draws: Draws, steps: int, done: Sequence[list[float]] = ()) -> None:
        self.steps, self.rows = steps, list(done)
        self._every = READ_EVERY if draws.apart else 1
        self._unread: list[Tensor] = []

    def add(self, losses: Tensor, *, now: bool = False) -> list[list[float]]:
        """Add the losses of a step, `(losses,)`; returns the rows that this reads, which may be none.

        Args:
            now: read all losses.
        """
        self._unread.append(losses)
        last = len(self.rows) + len(self._unread) == self.steps
        if not (now or last or len(self._unread) >= self._every):
            return []
        read = _read(self._unread)
        self._unread = []
        self.rows += read
        return read

    def check(self, losses: Tensor, learning_rate: float, *, now: bool = False) -> None:
        """Add the losses of a step of a single model, whose loss is their sum.

        Raises:
            DivergedError: a loss that this reads is not finite.
        """
        before = len(self.rows)
        for step, row in enumerate(self.add(losses, now=now), before + 1):
            if not math.isfinite(sum(row)):
                raise DivergedError(step, sum(row), learning_rate)

    @property
    def sums(self) -> list[float]:
        """The loss of each step of a single model."""
        return [sum(row) for row in self.rows]


def _read(losses: list[Tensor]) -> list[list[float]]:
    rows: list[list[float]] = torch.stack(losses).tolist()
    return rows
