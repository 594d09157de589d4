"""Attribute image files as the service attributes requests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from royalty.infra.attribution.api import AttributionAnswer, AttributionRequest, Refused
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.base.reading import read_bytes
from royalty.models.data.decoding import MODES, decode
from royalty.models.data.teams import credited
from royalty.models.valuation.attribution import closeness, memorization_p_value
from royalty.models.valuation.near_copies import NEAREST
from royalty.tasks.attribution.attributing import Attributor, ServedIndex, served_folders
from royalty.tasks.attribution.credentials import Signing, sign_outputs
from royalty.tasks.attribution.description import stated_of
from royalty.tasks.attribution.log import usage_log
from royalty.tasks.items.stored_items import load_items

SAME = 1e-3
"""Distance up to which images have the same features; half precision rounds distances by less."""

NEIGHBOURS_SHOWN = 8
"""Training images beside each generated one in the picture."""


def attribute_files(
    images: Sequence[Path],
    model: str | None,
    version: str | None,
    picture: Path | None = None,
    signing: Signing | None = None,
) -> list[dict[str, Any]]:
    """See `royalty.flows.attribution.attribute`."""
    attributor = open_attributor([] if model is None else [model])
    name, number = _chosen(attributor, version)
    payloads = [read_bytes(path, "image") for path in images]
    answers = [
        answer_of(attributor, payload, str(path), name, number) for path, payload in zip(images, payloads, strict=True)
    ]
    if picture is not None:
        write_whole(picture, _picture(attributor, name, number, payloads, answers))
    rows = [answer.model_dump(mode="json", exclude={"attribution", "id"}, exclude_none=True) for answer in answers]
    files: Sequence[Path] = []
    if signing is not None:
        files = sign_outputs(list(zip(images, payloads, strict=True)), rows, signing)
    return [
        {"file": str(path), **row, **({"signed": str(files[place])} if files else {})}
        for place, (path, row) in enumerate(zip(images, rows, strict=True))
    ]


def find_works(images: Sequence[Path], model: str | None, version: str | None) -> list[dict[str, Any]]:
    """See `royalty.flows.attribution.find`."""
    attributor = open_attributor([] if model is None else [model])
    name, number = _chosen(attributor, version)
    log, found = usage_log(), []
    for path in images:
        index = attributor.index(name, number)
        pixels = attributor.pixels(index, read_bytes(path, "image"), str(path))
        features = attributor.embedded(index, pixels)
        distances, numbers = index.nearest_of_all(features)
        near = numbers[distances <= distances[0] + SAME]
        similar = dict(index.copied(pixels, numbers[:NEAREST]))
        apart = dict(zip(numbers.tolist(), distances.tolist(), strict=True))
        shown = list(dict.fromkeys([*near.tolist(), *similar]))
        items = _named(index, shown)
        places = np.concatenate([distances[:1], index.nearest(features)[0][1:]])
        originals = dict.fromkeys(item["earliest"] for item in items.values())
        outputs = {row.id: (row, share) for item in originals for row, share in log.behind(item)}
        found.append(
            {
                "file": str(path),
                "index": index.name,
                "contained": bool(distances[0] <= SAME),
                "p_value": memorization_p_value(closeness(places), np.array(index.about.closeness)),
                "copy_of": [
                    {**items[number], "distance": apart[number], "similarity": similarity}
                    for number, similarity in similar.items()
                ],
                "nearest": [{**items[number], "distance": apart[number]} for number in near.tolist()],
                "outputs": [
                    {"attribution": row.id, "time": row.at, "prompt": row.prompt, "share": share}
                    for row, share in sorted(outputs.values(), key=lambda output: -output[1])
                ],
            }
        )
    return found


def _named(index: ServedIndex, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What an index says of items, and the id of the earliest of the near copies of each, by number."""
    every = np.array(numbers)
    originals = index.rows(index.earliest(every))["id"].to_pylist()
    return {
        number: {
            "id": item["id"],
            "contributors": credited(item["contributor"]),
            "license": item["license"],
            "file_name": item["file_name"],
            "date": item["date"],
            "earliest": earliest,
            **stated_of(item),
        }
        for number, item, earliest in zip(numbers, index.rows(every).to_pylist(), originals, strict=True)
    }


def open_attributor(models: Sequence[str] = ()) -> Attributor:
    """The indexes of this home.

    Args:
        models: names of those to open; none: all.
    """
    home = settings()
    from royalty.tasks.stages.device import best_device

    return Attributor(served_folders(home.root, models), WeightsStore(home.weights_root), best_device())


def answer_of(attributor: Attributor, payload: bytes, where: str, model: str, version: str) -> AttributionAnswer:
    """The answer for an image file.

    Raises:
        InputError: it cannot be attributed; the message has `where`.
    """
    request = AttributionRequest(
        id=where[-128:],
        model=model,
        version=version,
        time=datetime.now(UTC),
        image=base64.b64encode(payload).decode(),
    )
    try:
        return attributor(request)
    except Refused as refused:
        raise InputError(refused.detail.replace("the image", where, 1)) from refused


def _chosen(attributor: Attributor, version: str | None) -> tuple[str, str]:
    """The one index that is meant.

    Raises:
        InputError: there are several, or none of this version.
    """
    found = [name for name in attributor.folders if version is None or name[1] == version]
    if len(found) != 1:
        known = ", ".join(f"{name} {number}" for name, number in attributor.folders)
        raise InputError(
            f"images are attributed by one index, and {len(found)} fit; name one by `--model` and `--version`. There "
            f"are: {known}"
        )
    return found[0]


def _picture(
    attributor: Attributor, model: str, version: str, payloads: Sequence[bytes], answers: Sequence[AttributionAnswer]
) -> bytes:
    """A PNG: a row for each generated image, beside the training images with the highest shares."""
    from royalty.infra.pages.pictures import sheet

    about = attributor.index(model, version).about
    if not about.shape:
        raise InputError(f"the index of {model} has features, and no images to draw; leave out the picture")
    channels, size, _ = about.shape
    artifacts = open_workspace(settings()).artifacts
    known: dict[str, np.ndarray] = {}
    wanted = {item.id for answer in answers for item in answer.items[:NEIGHBOURS_SHOWN]}
    for digest in about.items:
        items = load_items(artifacts, digest)
        if items.images is not None:
            known |= {name: items.images[row] for row, name in enumerate(items.ids) if name in wanted}
    blank = np.full((channels, size, size), 255, np.uint8)
    rows = []
    for payload, answer in zip(payloads, answers, strict=True):
        mode, _, square = decode("the image", payload, size)
        pixels = square.reshape(size, size, MODES[mode]).transpose(2, 0, 1)[:channels]
        behind = [known.get(item.id, blank) for item in answer.items[:NEIGHBOURS_SHOWN]]
        padding = [blank] * (NEIGHBOURS_SHOWN - len(behind))
        rows += [np.broadcast_to(pixels, blank.shape), blank, *behind, *padding]
    return sheet(np.stack(rows), columns=NEIGHBOURS_SHOWN + 2)
