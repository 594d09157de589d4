"""Full float32 precision on a GPU, where PyTorch by default rounds the inputs of convolutions to TF32.

TF32 keeps 10 of the 23 bits of the mantissa.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions and matrix products in full float32, and restore the previous settings afterwards.

    Also works as a decorator. Features computed on a GPU and on a CPU are stored under the same name, so they must be
    equal up to rounding.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)
