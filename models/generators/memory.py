"""A batch in parts: those of each GPU that trains, and of those what its memory holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from royalty.models.generators.together import add_up, share_of


class Parts:
    """Runs a batch in parts one after the other; their gradients add up to those of the batch, but for rounding.

    Where the memory of the GPU does not hold a part, parts are halved from then on, a warning says so, and the batch is
    begun anew: what is learned stays that of the whole batch.

    Processes that train together share the parts: see `royalty.models.generators.together`.

    Args:
        parameters: whose gradients are added up.
        batch_size: images in a batch.
        parts: that the share of a process is divided into at first.
    """

    def __init__(self, parameters: Sequence[Tensor], batch_size: int, parts: int = 1) -> None:
        self.parameters, self.share = parameters, share_of(batch_size)
        self.size = -(-len(self.share) // parts)

    def run(self, work: Callable[[slice], Tensor], begin: Callable[[], None]) -> Tensor:
        """The sum over parts of what the work returns.

        Args:
            work: of a part of the batch; leaves gradients of its share of the loss, and returns that share.
            begin: forgets gradients; called before the first part, and again before parts are tried anew.

        Raises:
            torch.OutOfMemoryError: a single image is too much.
        """
        start, end = self.share.start, self.share.stop
        while True:
            begin()
            try:
                losses = [work(slice(at, min(at + self.size, end))) for at in range(start, end, self.size)]
                break
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
            self.size = -(-self.size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(
                f"out of GPU memory: batches of {len(self.share)} are trained in parts of {self.size} images from here "
                "on, and learn the same",
                stacklevel=2,
            )
        total = torch.stack(losses).sum(0) if len(losses) > 1 else losses[0]
        add_up([total, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
        return total
