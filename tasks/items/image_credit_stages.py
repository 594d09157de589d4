"""Inputs and outputs of the stage that divides credit among images. Digests identify artifacts."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class ImageCreditInputs:
    """Credit to divide, and the images among which and by which it is divided.

    Attributes:
        credit: digest of the credit table.
        train, held_out: digests of the images trained on, and of images that nobody trained on.
        classifier: digest of the classifier of labels; "" if the generator is not told labels.
        encoder: encoder in whose features images are compared.
        references: largest number of held-out images.
        seed: of the draw of held-out images, if there are more.
    """

    credit: str
    train: str
    held_out: str
    classifier: str
    encoder: str
    references: int
    seed: int


@dataclass(frozen=True)
class ImageCreditOutputs:
    """The divided credit.

    Attributes:
        table: digest of the table (Parquet) with `contributor`, `id`, `share` and `credit`: contributors in the order
            of the credit table, and the images of each by share, highest first.
        images: number of its rows; an image of several contributors has one for each.
        compared: number of held-out images by others that the images of each contributor are compared with. If it is
            0, they have equal shares.
        references: number of held-out images.
        scale: distance of similar images; see `royalty.models.valuation.image_parts`.
    """

    table: str
    images: int
    references: int
    scale: float
    compared: dict[str, int]
    busy_seconds: float


IMAGE_CREDIT = Stage("image-credit", ImageCreditInputs, ImageCreditOutputs)

ImageCredited = Finished[ImageCreditInputs, ImageCreditOutputs]
