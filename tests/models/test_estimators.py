"""Estimators with scikit-learn's interface: the same numbers as the functions, and its conventions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import royalty
from royalty.models.base.errors import InputError


def blobs(seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(items) % 2
    return 6.0 * labels[:, None] + np.random.default_rng(seed).normal(size=(items, 2)), labels


TRAIN, CLEAN = blobs(0, 40), blobs(1, 30)


def test_scores_are_those_of_the_functions_with_the_same_parameters() -> None:
    lava = royalty.LavaValuer(epsilon=0.5, label_weight=2.0).fit(*CLEAN)
    expected = royalty.lava_values(*TRAIN, *CLEAN, epsilon=0.5, label_weight=2.0)
    np.testing.assert_array_equal(lava.score_samples(*TRAIN), expected.values)
    assert lava.diagnostics_ == expected.diagnostics
    sava = royalty.SavaValuer(batch_size=16, seed=3).fit(*CLEAN)
    expected = royalty.sava_values(*TRAIN, *CLEAN, batch_size=16, seed=3)
    np.testing.assert_array_equal(sava.score_samples(*TRAIN), expected.values)
    wrong = TRAIN[0], np.where(np.arange(40) < 3, 1 - TRAIN[1], TRAIN[1])
    detector = royalty.Detector(fdr=0.3, seed=2).fit(*CLEAN)
    found = royalty.detect_items(*wrong, *CLEAN, fdr=0.3, seed=2)
    np.testing.assert_array_equal(detector.score_samples(*wrong), found.scores)
    np.testing.assert_array_equal(detector.predict(*wrong) == -1, found.flagged)
    assert found.flagged.any()


@pytest.mark.parametrize("estimator", [royalty.LavaValuer(), royalty.SavaValuer(), royalty.Detector()])
def test_parameters_are_got_set_and_cloned_and_fitting_comes_first(estimator: royalty.Detector) -> None:
    fitted = clone(estimator).set_params(device="cpu").fit(*CLEAN)
    assert fitted.get_params() == estimator.get_params() | {"device": "cpu"}
    assert fitted.n_features_in_ == 2
    with pytest.raises(NotFittedError):
        clone(fitted).score_samples(*TRAIN)
    with pytest.raises(InputError, match="finite"):
        clone(fitted).fit(np.full((4, 2), np.nan), [0, 0, 1, 1])
    with pytest.raises(InputError, match=r"validation features are float64 of shape \(4,\)"):
        clone(fitted).fit(np.zeros(4), [0, 0, 1, 1])
    with pytest.raises(InputError, match="at least one item"):
        clone(fitted).fit(np.zeros((0, 2)), [])


def test_valuers_pass_scikit_learns_own_checks() -> None:
    words = "the error is raised, in the words of this package"
    company = "scored without labels after being fitted with them; and a value depends on the items it is scored with"
    expected = {
        "check_complex_data": words,
        "check_dtype_object": words,
        "check_estimators_empty_data_messages": words,
        "check_estimators_nan_inf": words,
        "check_methods_sample_order_invariance": company,
        "check_methods_subset_invariance": company,
    }
    for valuer in (royalty.LavaValuer(), royalty.SavaValuer()):
        results = check_estimator(valuer, expected_failed_checks=expected, on_skip=None)
        assert {each["check_name"] for each in results if each["status"] == "xfail"} == set(expected)
        assert sum(each["status"] == "passed" for each in results) > 30
