import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.encoders.representation import DIRECTIONS, represent

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(90) % 3
CENTRES = GENERATOR.normal(size=(3, 100))
VAL = (CENTRES[LABELS] + 0.2 * GENERATOR.normal(size=(90, 100))).astype(np.float32)
TRAIN = (CENTRES[LABELS] + 0.2 * GENERATOR.normal(size=(90, 100))).astype(np.float32)


@pytest.mark.parametrize(("kind", "dimensions"), [("features", 100), ("principal", DIRECTIONS), ("probabilities", 3)])
def test_sides_are_alike_and_labels_lie_apart(kind: str, dimensions: int) -> None:
    train, val = represent(TRAIN, VAL, LABELS, kind)
    assert train.shape == val.shape == (90, dimensions)
    assert train.dtype == val.dtype == np.float32
    nearest = np.linalg.norm(train[:, None] - val, axis=2).argmin(axis=1)
    assert (LABELS[nearest] == LABELS).mean() > 0.95


def test_contrast_does_not_count() -> None:
    for kind in ("features", "principal"):
        (first, _), (second, _) = represent(TRAIN, VAL, None, kind), represent(3 * TRAIN, VAL, None, kind)
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_both_stand_side_by_side_with_equal_weight() -> None:
    _, both = represent(TRAIN, VAL, LABELS, "both")
    assert both.shape[1] == DIRECTIONS + 3
    for part in (both[:, :DIRECTIONS], both[:, DIRECTIONS:]):
        assert part.var(axis=0).sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(represent(TRAIN, VAL, None, "both")[0], represent(TRAIN, VAL, None, "principal")[0])


def test_validation_says_what_the_directions_are() -> None:
    odd = TRAIN + 100 * GENERATOR.normal(size=100).astype(np.float32)
    np.testing.assert_array_equal(represent(odd, VAL, LABELS, "both")[1], represent(TRAIN, VAL, LABELS, "both")[1])


def test_probabilities_without_labels_are_refused() -> None:
    for labels in (None, np.zeros(90, dtype=np.int64)):
        with pytest.raises(InputError, match="at least two labels"):
            represent(TRAIN, VAL, labels, "probabilities")
