"""Valuations for pyDVL: values of a data set by LAVA, SAVA or the detector.

pyDVL 0.10.0 pins a version of NumPy that Royalty does not run on. It works with newer ones when it is installed with
`pip install --no-deps`; see the guide "Value single images".
"""

from __future__ import annotations

from typing import Any, Self

from pydvl.utils.status import Status
from pydvl.valuation import Dataset, Valuation, ValuationResult
from pydvl.valuation.dataset import GroupedDataset

from royalty.models.base.errors import InputError


class EstimatorValuation(Valuation):  # type: ignore[misc]  # pyDVL is not installed where types are checked
    """A valuation by `royalty.LavaValuer`, `royalty.SavaValuer` or `royalty.Detector`.

    Attributes:
        estimator: its diagnostics are those of the last values.
        reference: the clean data that it is fitted to.
    """

    def __init__(self, estimator: Any, reference: Dataset) -> None:
        super().__init__()
        self.estimator = estimator
        self.reference = reference
        self.algorithm_name = type(estimator).__name__

    def fit(self, data: Dataset, continue_from: ValuationResult | None = None) -> Self:
        """Value the items of `data`; higher is better.

        Raises:
            InputError: groups, or a result to continue from, since all items are valued at once; or as for the
                estimator.
        """
        if isinstance(data, GroupedDataset):
            raise InputError(
                f"{self} values single items, and this data set has groups; pass a Dataset, and sum by group"
            )
        if continue_from is not None:
            raise InputError(f"{self} values all items at once, so there is nothing to continue; leave out the result")
        features, labels = data.data()
        values = self.estimator.fit(*self.reference.data()).score_samples(features, labels)
        self._result = ValuationResult(
            algorithm=str(self), status=Status.Converged, values=values, indices=data.indices, data_names=data.names
        )
        return self
