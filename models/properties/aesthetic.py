"""How pleasing people find generated images, as LAION's aesthetic predictor sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats.mstats import hdquantiles
from torch import nn

from royalty.models.base.checkpoints import load_exactly, read_checkpoint
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.hub import clip
from royalty.models.properties.property import Context, Property, error_of_mean, jackknife

QUANTILE = 0.9
"""Of the scores, as in the sparsified fine-tuning paper: the best tenth of the images is what people keep."""


def mean(context: Context, network: str) -> Property:
    """Mean score."""
    return Property(reader(context, network), lambda scores: float(scores.mean()), error_of_mean)


def upper(context: Context, network: str) -> Property:
    """The 0.9 quantile of the scores; its error by leaving out image by image, as it is smooth."""
    return Property(
        reader(context, network), smooth_quantile, lambda scores: jackknife(scores, smooth_quantile, groups=100)
    )


def reader(context: Context, network: str) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 images to scores, float64, `(images,)`, about 1 to 10, higher is more pleasing."""
    encoder = clip(context.weights(network)).to(context.device)
    head = linear_head(context.weights("aesthetic"), encoder.dimensions)
    return partial(aesthetic_scores, encoder, head)


def linear_head(folder: Path, dimensions: int) -> nn.Linear:
    """The linear layer of `model.pth` of a folder, from that many features to a score.

    Raises:
        InputError: the file is missing, damaged, or holds other weights.
    """
    head = nn.Linear(dimensions, 1)
    load_exactly(head, read_checkpoint(folder / "model.pth"), folder / "model.pth")
    return head


@torch.inference_mode()
def aesthetic_scores(encoder: Encoder, head: nn.Linear, images: np.ndarray) -> np.ndarray:
    """The head's answer to CLIP's features, scaled to length one."""
    features = nn.functional.normalize(torch.from_numpy(encoder.features(images)))
    scores: np.ndarray = head(features)[:, 0].double().numpy()
    return scores


def smooth_quantile(scores: np.ndarray, q: float = QUANTILE) -> float:
    """The quantile by a weighted mean of all sorted scores (Harrell and Davis 1982): surer than one of few scores."""
    return float(hdquantiles(scores, [q])[0])
