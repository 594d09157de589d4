"""Read images with their contributors, check them and split them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.base.policy import Policy
from royalty.models.data.artbench import artbench_images
from royalty.models.data.celeba import celeba_images
from royalty.models.data.cifar import cifar_images
from royalty.models.data.columns import dataset_images, parquet_images
from royalty.models.data.consent import consents, given
from royalty.models.data.credited import copies, read_images
from royalty.models.data.duplicates import near_copies, near_owners
from royalty.models.data.folder import read_manifest
from royalty.models.data.items import Splits
from royalty.models.data.licenses import Licensed, licensed
from royalty.models.data.listing import Listing, check_credited
from royalty.models.data.openmoji import openmoji_drawings
from royalty.models.data.optouts import Withdrawal
from royalty.models.data.permission import Permitted, permitted
from royalty.models.data.stored import set_pieces
from royalty.tasks.config.sources import (
    ArtbenchSource,
    CelebaSource,
    CifarSource,
    DatasetSource,
    DigitsSource,
    EmbeddedSource,
    FileSource,
    FolderSource,
    FontsSource,
    MnistSource,
    OpenmojiSource,
    ParquetSource,
)
from royalty.tasks.credit.installed import list_fonts
from royalty.tasks.credit.listed import digest_of_names, keep_listed
from royalty.tasks.credit.stages import INGEST, Ingested, IngestInputs, IngestOutputs
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.task import task
from royalty.tasks.stages.withdrawals import withdrawals


@task(name="read images", cache_policy=NO_CACHE)
def ingest(
    source: EmbeddedSource | FileSource,
    seed: int,
    labels: bool = True,
    texts: bool = False,
    public: Collection[str] = (),
) -> Ingested:
    """Read, check and split the images of a source.

    Args:
        labels, texts: whether every image needs a label or a caption.
        public: contributors whose images are in every model and who are not paid.

    Raises:
        InputError: an image cannot be used; or a public contributor has no images, or shares some with a paid one.
    """
    if not isinstance(source, EmbeddedSource):
        return _ingest_files(source, seed, labels, texts, sorted(public))
    if texts and isinstance(source, DigitsSource):
        raise InputError("the embedded digits have no captions; set `generator: {prompt: ...}` for all of them")
    inputs = IngestInputs(source.model_dump(mode="json"), seed, public=sorted(public))

    def compute(space: Workspace) -> IngestOutputs:
        splits = embedded_splits(source, seed)
        stored = {name: space.artifacts.put(part.to_bytes()) for name, part in vars(splits).items()}
        return _set_apart(_outputs(splits, stored, splits.train.images), inputs.public)

    return run_here(INGEST, inputs, compute)


def embedded_splits(source: EmbeddedSource, seed: int) -> Splits:
    """Load the images of an embedded source, divided among contributors and split."""
    held_out = source.held_out.model_dump()
    if isinstance(source, MnistSource):
        from royalty.models.data.mnist import credited_digits

        shared = source.contributors_a_digit
        return credited_digits(chosen=source.digits, contributors_a_digit=shared, **held_out, seed=seed)
    from royalty.models.data.digits import digits  # scikit-learn takes seconds to import

    return digits(**source.model_dump(exclude={"source", "held_out"}), **held_out, seed=seed)


def _ingest_files(source: FileSource, seed: int, labels: bool, texts: bool, public: list[str]) -> Ingested:
    withdrawn_works = withdrawals(open_workspace(settings()))
    usable = list_source(source, seed, labels=labels, texts=texts, withdrawn=withdrawn_works)
    listing, withdrawn = usable.listing, usable.withdrawn
    leave_out = source.manifests.refused == "leave-out"
    without_consent = source.consented.refused == "leave-out"
    reading: dict[str, Any] = {"size": source.size, "held_out": source.held_out.model_dump()}
    if usable.left_out:
        reading["left_out"] = {"licenses": usable.left_out, "contributors": usable.without, "of": usable.left_out_of}
    if withdrawn:
        reading["withdrawn"] = withdrawn
    if usable.manifests:
        reading["manifests"] = {**usable.read, "leave_out": leave_out}
    provenance = listing.provenance(source.place)
    if usable.not_consented:
        reading["not_consented"] = {"images": usable.not_consented, "leave_out": without_consent}
    inputs = IngestInputs(reading, seed, files=listing.digest(), names=digest_of_names(provenance), public=public)

    def compute(space: Workspace) -> IngestOutputs:
        with progress("Read images", len(listing)) as advance:
            read = read_images(
                listing,
                size=source.size,
                **source.held_out.model_dump(),
                seed=seed,
                workers=settings().readers,
                folder=space.root,
                progress=advance,
            )
        stored = {
            name: space.artifacts.put_pieces(set_pieces(part, read.squares)) for name, part in vars(read.splits).items()
        }
        places = read.splits.train.images
        outputs = _set_apart(_outputs(read.splits, stored, read.squares, places), public)
        owners = [entry.contributors for entry in listing.entries]
        return replace(
            outputs,
            repeated_items=read.repeated,
            licenses=listing.licenses(),
            years=listing.years(),
            left_out=usable.left_out,
            left_out_of=usable.left_out_of,
            consents=consents(listing),
            terms=listing.terms(),
            given=given(listing),
            sources=listing.sources(),
            not_consented=usable.not_consented,
            not_consented_left_out=without_consent and bool(usable.not_consented),
            without_images=list(usable.without),
            withdrawn=withdrawn,
            **usable.read,
            refused_left_out=leave_out and bool(usable.refused),
            listed=keep_listed(space.artifacts, read.ids, provenance, owners, listing.described()),
        )

    return run_here(INGEST, inputs, compute)


def _set_apart(outputs: IngestOutputs, public: list[str]) -> IngestOutputs:
    """Check the public contributors.

    Raises:
        InputError: one has no images, fewer than two others are left, or one shares images with a paid contributor.
    """
    if unknown := [name for name in public if name not in outputs.contributors]:
        raise InputError(
            f"`coalitions.public`: public contributors have training images, and {', '.join(unknown)} brought none. "
            "Correct the names"
        )
    paid_for = [
        f"{first} and {second} ({count})"
        for first, second, count in (*outputs.copies, *outputs.near_copies)
        if (first in public) != (second in public)
    ]
    if paid_for:
        raise InputError(
            "`coalitions.public`: images of nobody who is paid are public, and these pairs have images in common, "
            f"exactly or nearly: {'; '.join(paid_for)}. Remove these images on one side, or do not make them public"
        )
    return replace(outputs, public=public)


def list_source(
    source: FileSource, seed: int, *, labels: bool, texts: bool, withdrawn: Sequence[Withdrawal] = ()
) -> Licensed:
    """List the images of a source that have an allowed license and were not withdrawn, and check them for credit.

    Raises:
        InputError: an image or its row cannot be used; the message has the file, the row and the remedy.
    """
    match source:
        case FolderSource():
            listing = read_manifest(source.path, labels=labels, texts=texts)
        case ParquetSource():
            listing = parquet_images(source.path, source.columns, per_label=source.per_label)
        case DatasetSource():
            listing = dataset_images(source.path, source.columns, split=source.split, per_label=source.per_label)
        case CifarSource():
            subset = source.source == "cifar20"
            listing = cifar_images(source.path, subset=subset, split=source.split, per_label=source.per_label)
        case CelebaSource():
            listing = celeba_images(source.path, identities=source.identities, least=source.least, seed=seed)
        case ArtbenchSource():
            listing = artbench_images(source.path, style=source.style, split=source.split)
        case FontsSource():
            listing = list_fonts(source)
        case OpenmojiSource():
            chosen = source.model_dump(include={"size", "label", "least", "others", "skin_tones", "until"})
            listing = openmoji_drawings(source.path, **chosen)
    usable = licensed(listing, source.allowed.allow, leave_out=source.allowed.others == "leave-out")
    stated = _permitted(usable.listing, source.policy, withdrawn)
    check_credited(stated.listing, labels=labels, texts=texts)
    return replace(
        usable,
        listing=stated.listing,
        without=tuple(sorted({*usable.without, *stated.without})),
        withdrawn=stated.withdrawn,
        manifests=stated.manifests,
        refused=stated.refused,
        tampered=stated.tampered,
        not_consented=stated.not_consented,
    )


def _permitted(listing: Listing, policy: Policy, withdrawn: Sequence[Withdrawal]) -> Permitted:
    if policy.passes == 1:
        return permitted(listing, policy, withdrawn)
    with progress("Read manifests", len(listing)) as advance:
        return permitted(listing, policy, withdrawn, progress=advance)


def _outputs(
    splits: Splits,
    stored: Mapping[str, str],
    images: np.ndarray,
    places: np.ndarray | None = None,
) -> IngestOutputs:
    """Describe the split images.

    Args:
        stored: digest of each part, by name.
        images: array that holds the training images.
        places: positions of the training images in `images`; None: all, in order.
    """
    train, names = splits.train, list(splits.train.contributors)
    near = near_copies(near_owners(images, train.membership, places), train.membership)
    brought = train.membership.sum(axis=0).tolist()
    held_out = dict.fromkeys(names, 0)
    for part in (splits.validation, splits.classifier):  # those of the embedded digits belong to nobody
        for name, count in zip(part.contributors, part.membership.sum(axis=0).tolist(), strict=True):
            if name in held_out:
                held_out[name] += count
    return IngestOutputs(
        train=stored["train"],
        validation=stored["validation"],
        classifier=stored["classifier"],
        contributors=names,
        items=dict(zip(names, brought, strict=True)),
        contributor_digests=[train.digest_of(index) for index in range(len(names))],
        shared_items=int((train.membership.sum(axis=1) > 1).sum()),
        copies=copies(train),
        near_copies=[
            (train.contributors[first], train.contributors[second], int(count)) for first, second, count in near
        ],
        total_items=len(train),
        shape=list(images.shape[1:]),
        references=len(splits.classifier),
        held_out=held_out,
        label_names=list(train.label_names),
    )
