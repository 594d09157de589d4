"""The configuration of an evaluation that plants corruptions and looks for them by value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from royalty.models.base.choices import CorruptionName
from royalty.tasks.config.base import Rate, RunName, Share, StageConfig
from royalty.tasks.config.choices import EncodingChoice
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.values import Valuing

CORRUPTIONS: tuple[CorruptionName, ...] = get_args(CorruptionName)
Looking = Literal[
    "detector",
    "lava",
    "sava",
    "batchwise-lava",
    "knn-shapley",
    "confidence",
    "prototype",
    "cluster-centre",
    "el2n",
    "el2n-window",
    "tracin",
    "tracin-network",
    "influence",
    "data-oob",
    "confident-learning",
    "kairos",
    "class-shares",
    "random",
]
METHODS: tuple[Looking, ...] = get_args(Looking)
WITHOUT_VALIDATION: tuple[Looking, ...] = ("el2n", "data-oob", "confident-learning", "random")
"""Methods that value training items by training items alone."""
POSSIBLE_WITHOUT_VALIDATION: tuple[Looking, ...] = ("detector", *WITHOUT_VALIDATION)
"""Those, and methods that can do without validation."""
LEAST_AMOUNTS = 3
"""Fewest amounts of a corruption that distance and accuracy are correlated over."""
FOLDS = 5
"""Folds of validation in `confidence`, each of which needs an image."""


class PlantingConfig(StageConfig):
    """How much is planted, and how.

    Attributes:
        class_shares: `kept` leaves clean items out until every class has the same share in training as in validation;
            `changed` plants as the papers do, so that class shares alone tell a corruption that adds to a class.
        flipped: fraction of the items whose labels are changed.
        noise: fraction of the items whose pixels are disturbed.
        backdoor: fraction of the items that get a trigger and another label.
        poisoned: number of images that collide with one validation image in feature space.
    """

    class_shares: Literal["kept", "changed"] = "kept"
    flipped: Share = 0.25
    noise: Share = 0.25
    backdoor: Share = 0.05
    poisoned: Annotated[int, Field(ge=1)] = 50


class DetectionSettings(StageConfig):
    """How corruptions are planted in labelled images, and how they are looked for.

    These settings and the images determine the detection rates.

    Attributes:
        items, val_items: most training and validation images drawn; None: all.
        test: fraction of the validation images that no method sees; classifiers are judged by them.
        encoding: how images become vectors.
        valuing: settings of the methods.
        methods: methods that look for the corruptions.
        fdr: false discovery rates at which the detector flags items, ascending.
        planting: how much is planted.
        removed: fractions of the items of lowest value without which classifiers are trained.
        network_steps: training steps of a convolutional network without these items, beside the linear classifier; 0:
            none is trained.
    """

    items: Annotated[int, Field(ge=20)] | None = None
    val_items: Annotated[int, Field(ge=20)] | None = None
    test: Share = 0.25
    encoding: EncodingConfig = EncodingConfig()
    valuing: Valuing = Valuing()
    methods: tuple[Looking, ...] = METHODS
    fdr: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        Field(min_length=1),
        AfterValidator(lambda rates: tuple(sorted(set(rates)))),
    ] = (0.05, 0.1, 0.2)
    planting: PlantingConfig = PlantingConfig()
    removed: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.2, 0.3, 0.4)
    network_steps: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0


class ValidationSweep(StageConfig):
    """Validation sets by which all methods value the items again.

    Attributes:
        sizes: numbers of validation images; with 0, validation is absent. Smaller sets are parts of larger ones.
        flipped: fractions of the validation labels that are changed.
    """

    sizes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (100, 300, 1000)
    flipped: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)] = (0.0, 0.1)

    @property
    def sets(self) -> list[tuple[int, float]]:
        """Sizes, ascending, with each fraction of changed labels. Without validation there are no labels to change."""
        sizes = sorted(self.sizes)
        return [(size, share) for size in sizes for share in (sorted(self.flipped) if size else (0.0,))]

    @model_validator(mode="after")
    def _possible(self) -> ValidationSweep:
        for name, numbers in (("sizes", self.sizes), ("flipped", self.flipped)):
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"`{name}` has a number twice, {list(numbers)}; give each once")
        if small := [size for size in self.sizes if 0 < size < FOLDS]:
            raise ValueError(
                f"a size is 0, for no validation, or at least {FOLDS}, one image for each fold of `confidence`; got "
                f"{small[0]}. Take a larger one"
            )
        return self


class DistanceCurve(StageConfig):
    """Corrupted sets whose distance from validation is compared with the accuracy of what is trained on them.

    Attributes:
        amounts: fractions of the items in which each corruption is planted, ascending; 0 plants none.
    """

    amounts: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], ...], AfterValidator(lambda amounts: tuple(sorted(set(amounts))))
    ] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)

    @model_validator(mode="after")
    def _correlated(self) -> DistanceCurve:
        if len(self.amounts) < LEAST_AMOUNTS:
            raise ValueError(
                f"a correlation needs at least {LEAST_AMOUNTS} different `amounts`; got {list(self.amounts)}. Add some"
            )
        return self


Several = AfterValidator(lambda values: tuple(dict.fromkeys(values)))


class Ablation(StageConfig):
    """Settings that are varied one at a time, with the others as configured.

    Attributes:
        label_weight, epsilon: values of these settings of transport; see `Valuing`.
        batch_size: images in a batch of SAVA.
        encoder: encoders of the images.
    """

    label_weight: Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Several] = ()
    epsilon: Annotated[tuple[Rate, ...], Several] = ()
    batch_size: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Several] = ()
    encoder: Annotated[tuple[EncodingChoice, ...], Several] = ()

    @property
    def variants(self) -> list[tuple[str, float | int | str]]:
        """Each setting with each of its values."""
        return [(setting, value) for setting in DEPENDING for value in getattr(self, setting)]

    @model_validator(mode="after")
    def _varied(self) -> Ablation:
        if not self.variants:
            raise ValueError(
                f"an ablation varies a setting, and has no values of any. Give some of {', '.join(DEPENDING)}"
            )
        return self


DEPENDING: dict[str, tuple[Looking, ...]] = {
    "label_weight": ("lava", "sava", "batchwise-lava"),
    "epsilon": ("lava", "sava", "batchwise-lava"),
    "batch_size": ("sava", "batchwise-lava"),
    "encoder": tuple(method for method in METHODS if method not in ("class-shares", "random", "tracin-network")),
}
"""The methods whose values a setting changes, for each setting that is varied."""


class DetectionConfig(DetectionSettings):
    """Configuration of an evaluation: clean labelled images, the corruptions, and the methods that look for them.

    Attributes:
        train, val: labelled training images, and clean labelled validation images; both None: scikit-learn's digits.
        corruptions: corruptions that are planted, each in turn.
        draws: number of random draws of images and of planted items, from `seed` upwards.
        validation: smaller and faulty validation sets that are compared too; None: none.
        distance: corrupted sets whose distance from validation is compared with accuracy; None: none.
        ablation: settings that are varied one at a time; None: none.
    """

    name: RunName = "detection"
    train: Path | None = None
    val: Path | None = None
    corruptions: tuple[CorruptionName, ...] = CORRUPTIONS
    draws: Annotated[int, Field(ge=1)] = 3
    validation: ValidationSweep | None = None
    distance: DistanceCurve | None = None
    ablation: Ablation | None = None

    @property
    def by_fraction(self) -> list[CorruptionName]:
        """The corruptions that are planted in a fraction of the items."""
        return [name for name in self.corruptions if name not in ("irrelevant-class", "poison-frogs")]

    @property
    def encodings(self) -> list[EncodingConfig]:
        """The encodings that the ablation compares."""
        encoders = () if self.ablation is None else self.ablation.encoder
        return [self.encoding.model_copy(update={"encoder": encoder}) for encoder in encoders]

    @property
    def settings(self) -> DetectionSettings:
        """The settings that detection rates depend on."""
        return DetectionSettings.model_validate(self.model_dump(include=set(DetectionSettings.model_fields)))

    @model_validator(mode="after")
    def _both_sides(self) -> DetectionConfig:
        if (self.train is None) != (self.val is None):
            raise ValueError("give `train` and `val`, or neither, which takes scikit-learn's digits")
        return self

    @model_validator(mode="after")
    def _planted_by_fraction(self) -> DetectionConfig:
        if self.distance is not None and not self.by_fraction:
            raise ValueError(
                "`distance` needs a corruption that is planted in a fraction of the items, such as `flipped-labels` or "
                f"`noise`; `corruptions` is {list(self.corruptions)}. Add one, or leave `distance` out"
            )
        return self

    @model_validator(mode="after")
    def _varied_for_some(self) -> DetectionConfig:
        for setting, _ in () if self.ablation is None else self.ablation.variants:
            if not set(DEPENDING[setting]) & set(self.methods):
                raise ValueError(
                    f"`ablation.{setting}` changes the values of {', '.join(DEPENDING[setting])}, and `methods` is "
                    f"{list(self.methods)}. Add one of them, or leave the setting out"
                )
        return self

    @model_validator(mode="after")
    def _valued_again(self) -> DetectionConfig:
        if self.validation is None:
            return self
        if self.encoding.trained_here:
            raise ValueError(
                f"`validation` compares methods on the same features, and `encoding.encoder: {self.encoding.encoder}` "
                "is trained on validation, so that features would change with it. Choose another encoder"
            )
        if 0 in self.validation.sizes and not set(self.methods) & set(POSSIBLE_WITHOUT_VALIDATION):
            raise ValueError(
                f"`validation.sizes` has 0, and all of `methods` need validation. Add one of "
                f"{', '.join(POSSIBLE_WITHOUT_VALIDATION)}, or leave 0 out"
            )
        return self
