"""The Inception Score in closed form, and the classifier behind it on real scans."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.data.digits import digits
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.inception_score import inception_score


def test_closed_forms() -> None:
    assert inception_score(np.full((50, 7), 1 / 7)) == pytest.approx(1)
    assert inception_score(np.eye(7)[np.arange(70) % 7]) == pytest.approx(7)
    assert inception_score(np.eye(7)[np.zeros(50, int)]) == pytest.approx(1)
    half = np.concatenate([np.eye(4)[np.arange(40) % 4], np.full((40, 4), 0.25)])
    assert inception_score(half) == pytest.approx(np.sqrt(4))


def test_classifier_knows_digits_and_not_noise() -> None:
    splits = digits(
        contributors=3,
        shares="dirichlet",
        concentration=1.0,
        blurred_sigma=0,
        mislabelled=False,
        planted=False,
        validation=0.1,
        classifier=0.25,
        seed=0,
    )
    classifier = Classifier(1, 10, seed=0)
    classifier.fit(splits.classifier.images, splits.classifier.labels, steps=250, seed=0)
    assert classifier.accuracy(splits.validation.images, splits.validation.labels) > 0.85
    real = inception_score(classifier.probabilities(splits.validation.images))
    noise = np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)
    assert inception_score(classifier.probabilities(noise)) < 1.6 < 5 < real
    again = Classifier.from_bytes(classifier.to_bytes())
    np.testing.assert_array_equal(again.probabilities(noise), classifier.probabilities(noise))
    assert again.to("meta").device.type == again._inputs(noise).device.type == "meta"
