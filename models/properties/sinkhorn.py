"""Debiased Sinkhorn divergence (Feydy et al. 2019) of generated images from real ones, by GeomLoss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.optional import check_installed
from royalty.models.properties.comparing import feature_reader
from royalty.models.properties.property import Context, Property

SCALING = 0.9
"""Ratio of successive blurs. GeomLoss's own, 0.5, leaves an error of several percent."""


def build(context: Context, network: str, blur: float = 0.5, reach: float | None = None) -> Property:
    """Minus the divergence from the reference in an encoder's features; its standard error by the jackknife.

    Like the FID, it is biased by the number of images, so only models with equal numbers of images can be compared.

    Args:
        blur, reach: see `sinkhorn_divergence`; in units of the root mean square distance of reference images from their
            mean.
    """
    read = feature_reader(context, network, least=2)
    reference = read(context.reference)
    scale = math.sqrt(reference.var(axis=0).sum()) or 1.0

    def statistic(features: np.ndarray) -> float:
        sides = (torch.from_numpy(side / scale) for side in (features, reference))
        return -(scale**2) * float(sinkhorn_divergence(*sides, blur=blur, reach=reach))

    return Property(read, statistic)


def sinkhorn_divergence(
    features: Tensor, reference: Tensor, *, blur: float = 0.5, reach: float | None = None
) -> Tensor:
    """OT(a, b) - OT(a, a)/2 - OT(b, b)/2 under half the squared distance; differentiable in both sides.

    Args:
        features, reference: `(images, dimensions)` each; images of one side weigh the same.
        blur: distance below which details are not compared, above 0; the weight of the entropy is its square.
        reach: distance beyond which mass is destroyed and created rather than moved, above 0, so that outliers count
            little; None: all mass is moved.

    Returns:
        A scalar in half squared units of the features, at least 0 up to the accuracy of the solver.

    Raises:
        InputError: geomloss is not installed, or `blur` or `reach` is not above 0.
    """
    check_installed("geomloss", "geomloss", "`sinkhorn`")
    for name, number in {"blur": blur, "reach": reach}.items():
        if number is not None and not (math.isfinite(number) and number > 0):
            raise InputError(f"`{name}` of `sinkhorn` is a finite number above 0, got {number}; leave it out")
    from geomloss import SamplesLoss  # of the extra `geomloss`

    loss = SamplesLoss("sinkhorn", p=2, blur=blur, reach=reach, scaling=SCALING, backend="tensorized")
    divergence: Tensor = loss(features, reference)
    return divergence
