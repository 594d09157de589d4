"""Valuations and detection with scikit-learn's interface: fitted to clean items, they score training items.

An item's score depends on all items that are scored with it, since a set is moved to validation as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from royalty.models.base.arrays import as_features, as_labels
from royalty.models.base.checks import check_features, check_labels
from royalty.models.base.errors import InputError
from royalty.models.valuation.detector import DetectedItems, detect_items
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.lava import MAX_ITERATIONS, lava_values
from royalty.models.valuation.sava import sava_values


class _FittedToClean(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Keeps the clean items.

    Attributes:
        features_, labels_: of the clean items.
        n_features_in_: number of features.
    """

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Keep clean items to score training items by.

        Args:
            X: features, `(items, d)`.
            y: labels, integers, `(items,)`.

        Raises:
            InputError: invalid features or labels.
        """
        features, labels = as_features(X, "X"), as_labels(y, "y")
        check_features(features, features, first_title="validation")
        if labels is not None:
            check_labels(labels, len(features), "validation")
        self.features_, self.labels_, self.n_features_in_ = features, labels, features.shape[1]
        return self


class _Valuer(_FittedToClean):
    """Values by a function of features and labels of both sides.

    Attributes:
        diagnostics_: of the last scores.
    """

    _values: Callable[..., ItemValues]

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """Values of the training items X with labels y, float64, `(items,)`; higher is better.

        Raises:
            InputError, NotConverged: as for the function whose parameters these are.
        """
        check_is_fitted(self)
        result = type(self)._values(X, y, self.features_, self.labels_, **self.get_params())
        self.diagnostics_ = result.diagnostics
        return result.values


class LavaValuer(_Valuer):
    """Values of training items by LAVA; parameters are those of `royalty.lava_values`.

    Attributes:
        diagnostics_: of the last scores.

    Examples:
        >>> import royalty
        >>> valuer = royalty.LavaValuer(epsilon=0.3).fit([[0.0], [1.0], [2.0]])
        >>> int(valuer.score_samples([[0.0], [1.0], [30.0]]).argmin()), valuer.get_params()["epsilon"]
        (2, 0.3)
    """

    _values = staticmethod(lava_values)

    def __init__(
        self,
        *,
        label_weight: float = 1.0,
        feature_weight: float = 1.0,
        epsilon: float = 0.1,
        tolerance: float = 1e-3,
        max_iterations: int = MAX_ITERATIONS,
        solver: str = "royalty",
        device: str | None = None,
    ) -> None:
        self.label_weight = label_weight
        self.feature_weight = feature_weight
        self.epsilon = epsilon
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.solver = solver
        self.device = device


class SavaValuer(_Valuer):
    """Values of training items by SAVA; parameters are those of `royalty.sava_values`.

    Attributes:
        diagnostics_: of the last scores.

    Examples:
        >>> import royalty
        >>> valuer = royalty.SavaValuer(batch_size=2).fit([[0.0], [1.0], [2.0]])
        >>> int(valuer.score_samples([[0.0], [1.0], [2.0], [30.0]]).argmin())
        3
    """

    _values = staticmethod(sava_values)

    def __init__(
        self,
        *,
        label_weight: float = 1.0,
        feature_weight: float = 1.0,
        epsilon: float = 0.1,
        tolerance: float = 1e-3,
        max_iterations: int = MAX_ITERATIONS,
        batch_size: int = 1024,
        stratify: bool = True,
        form: str = "joint",
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.label_weight = label_weight
        self.feature_weight = feature_weight
        self.epsilon = epsilon
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.batch_size = batch_size
        self.stratify = stratify
        self.form = form
        self.seed = seed
        self.device = device


class Detector(_FittedToClean):
    """Faulty training items; parameters are those of `royalty.detect_items` with validation, where `trim` has no use.

    Attributes:
        detected_: all that is known of the items scored last; see `royalty.detect_items`.

    Examples:
        >>> import royalty
        >>> clean = [[0.1 * i] for i in range(10)] + [[5 + 0.1 * i] for i in range(10)]
        >>> detector = royalty.Detector(fdr=0.2).fit(clean, [0] * 10 + [1] * 10)
        >>> int(detector.score_samples([[0.25], [0.55], [0.35], [5.55]], [0, 0, 1, 1]).argmin())
        2
    """

    def __init__(
        self,
        *,
        fdr: float = 0.1,
        by_class: bool = True,
        neighbours: int = 3,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.fdr = fdr
        self.by_class = by_class
        self.neighbours = neighbours
        self.seed = seed
        self.device = device

    def score_samples(self, X: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Scores of the training items X with labels y, float64, `(items,)`; at most 0, higher is cleaner.

        Raises:
            InputError: as for `royalty.detect_items`; it was fitted without labels.
        """
        return self._detected(X, y).scores

    def predict(self, X: ArrayLike, y: ArrayLike) -> np.ndarray:
        """-1 for flagged items and 1 for the others, int64, `(items,)`; as scikit-learn's outlier detectors."""
        return np.where(self._detected(X, y).flagged, -1, 1)

    def _detected(self, X: ArrayLike, y: ArrayLike) -> DetectedItems:
        check_is_fitted(self)
        if self.labels_ is None:
            raise InputError("faults are found by labels, and the detector was fitted without; fit it with `y`")
        arguments: dict[str, Any] = self.get_params()
        self.detected_ = detect_items(X, y, self.features_, self.labels_, **arguments)
        return self.detected_
