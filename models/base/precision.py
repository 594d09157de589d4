"""Full float32 on a GPU, where PyTorch by default rounds the inputs of convolutions to TF32: 10 bits of 23."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions and products of matrices in float32, whatever they were set to before and are after.

    A decorator too. Features of a GPU and of a CPU are kept under one name, so they have to be the same but for the
    last places.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)
