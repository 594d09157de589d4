"""Anderson mixing: an iteration is extrapolated from its last few steps (Anderson 1965; type II)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MEMORY = 8
"""Number of passes mixed; more gain little."""


class Mixing:
    """An iteration that never lowers a dual value.

    If an extrapolated point lowers the value, the plain iteration continues from the previous point, and the memory is
    cleared.

    Args:
        slack: decrease of the value that is attributed to rounding.
    """

    def __init__(self, slack: float) -> None:
        self.slack = slack
        self.steps: list[Tensor] = []
        self.points: list[Tensor] = []
        self.dual = -np.inf
        self.plain: Tensor | None = None

    def next(self, point: Tensor, step: Tensor, dual: float) -> Tensor:
        """The next point.

        Args:
            point: the current point.
            step: the step of the plain iteration from it.
            dual: the dual value of the current point.
        """
        if self.plain is not None and not dual >= self.dual - self.slack:
            plain, self.plain, self.steps, self.points = self.plain, None, [], []
            return plain
        self.dual, self.plain = dual, point + step
        self.steps = [*self.steps, step][-MEMORY:]
        self.points = [*self.points, self.plain][-MEMORY:]
        if len(self.steps) == 1:
            return self.plain
        steps = torch.stack(self.steps).diff(dim=0)  # (memory, m)
        points = torch.stack(self.points).diff(dim=0)
        gram = steps @ steps.T
        # All steps are equal at the precision of the cost, and if there is a single target.
        ridge = 1e-10 * gram.trace() + torch.finfo(gram.dtype).tiny
        gram += ridge * torch.eye(len(gram), dtype=gram.dtype)
        mixed: Tensor = self.plain - torch.linalg.solve(gram, steps @ step) @ points
        return mixed
