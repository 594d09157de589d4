"""A batch in parts, as large as memory allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


class Parts:
    """Runs a batch in parts one after the other; their gradients add up to those of the batch, but for rounding.

    Where the memory of the GPU does not hold a part, parts are halved from then on, a warning says so, and the batch is
    begun anew: what is learned stays that of the whole batch.

    Args:
        batch_size: images in a batch.
        parts: that a batch is divided into at first.
    """

    def __init__(self, batch_size: int, parts: int = 1) -> None:
        self.batch_size, self.size = batch_size, -(-batch_size // parts)

    def run(self, work: Callable[[slice], Tensor], begin: Callable[[], None]) -> Tensor:
        """The sum over parts of what the work returns.

        Args:
            work: of a part of the batch; leaves gradients of its share of the loss, and returns that share.
            begin: forgets gradients; called before the first part, and again before parts are tried anew.

        Raises:
            torch.OutOfMemoryError: a single image is too much.
        """
        while True:
            begin()
            try:
                shares = [work(slice(at, at + self.size)) for at in range(0, self.batch_size, self.size)]
                return torch.stack(shares).sum(0) if len(shares) > 1 else shares[0]
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
            self.size = -(-self.size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(
                f"out of GPU memory: batches of {self.batch_size} are trained in parts of {self.size} images from here "
                "on, and learn the same",
                stacklevel=2,
            )
