"""Divide batches into parts: one per process, and smaller ones if GPU memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from royalty.models.generators.together import add_up, share_of


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that no process has taken."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


class Parts:
    """Runs a batch in parts, one after the other, whose gradients sum to those of the batch up to rounding.

    If a part does not fit in GPU memory, the size of the parts is halved for the rest of the training, a warning is
    issued, and the batch is repeated. The gradients remain those of the whole batch.

    Processes that train together divide the batch: see `royalty.models.generators.together`.

    Args:
        parameters: the parameters whose gradients are summed.
        batch_size: images in a batch.
        parts: number of parts at first, in each process.
    """

    def __init__(self, parameters: Sequence[Tensor], batch_size: int, parts: int = 1) -> None:
        self.parameters, self.share = parameters, share_of(batch_size)
        self.size = -(-len(self.share) // parts)

    def run(self, work: Callable[[slice], Tensor], begin: Callable[[], None]) -> Tensor:
        """Run all parts; returns the sum of their losses.

        Args:
            work: called with each part of the batch; accumulates its gradients and returns its part of the loss.
            begin: resets the gradients; called before the first part, and again before a repetition.

        Raises:
            torch.OutOfMemoryError: a single image does not fit.
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
                f"out of GPU memory: from now on batches of {len(self.share)} are processed in parts of {self.size} "
                "images, with the same result",
                stacklevel=2,
            )
        total = torch.stack(losses).sum(0) if len(losses) > 1 else losses[0]
        add_up([total, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
        return total
