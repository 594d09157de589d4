"""Quality by local density: what is near and far, few images, and what is refused; see also `test_realism`."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.quality.by_features import BY_FEATURES
from royalty.models.quality.local_density import density_scores
from royalty.tasks.config.matching import GrandMatching


def test_near_far_copies_and_one_image_in_the_open() -> None:
    line = np.arange(11.0)[:, None]
    points = np.array([[5.5], [8.0], [110.0]])
    scores = density_scores(line, points, k=2)
    np.testing.assert_allclose(scores, [1, 1, 1.25 / 100.5], rtol=1e-4)
    # A training image far from all others makes an image beside it look no better than that.
    open_field = np.concatenate([line, [[500.0]]])
    assert density_scores(open_field, np.array([[900.0]]), k=3)[0] < 0.5
    assert (density_scores(np.zeros((9, 2)), np.zeros((3, 2))) == 1).all()


def test_few_images_have_fewer_neighbours_and_a_name_of_the_configuration() -> None:
    for items in (2, 3, 9):
        train = np.arange(float(items))[:, None]
        assert BY_FEATURES["density"](train)(train[:1]).tolist() == [1.0]
    for name in BY_FEATURES:
        assert GrandMatching(quality=name).quality == name
    with pytest.raises(InputError, match="`k` is from 1 to the number of other training images, 3; got 4"):
        density_scores(np.zeros((4, 2)), np.zeros((1, 2)), k=4)
