"""Check and describe folders of Stable Diffusion pipelines and autoencoders saved by diffusers, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from royalty.models.base.errors import InputError

INDEX = "model_index.json"
WEIGHED = ("unet", "vae", "text_encoder")
PARTS = (*WEIGHED, "tokenizer", "scheduler")
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
SAFE = "*.safetensors"


def check_pipeline(folder: Path) -> None:
    """Check that a folder holds a complete Stable Diffusion pipeline with safetensors weights.

    Raises:
        InputError: something is missing, damaged, of another class, or stored as a pickle.
    """
    rule = "a base is a folder that holds a Stable Diffusion pipeline, as `pipeline.save_pretrained(folder)` writes it"
    if folder.is_file() and folder.suffix in PICKLED:
        raise InputError(f"{folder} is a pickle, and pickles are not loaded because they can run code; {rule}")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is not a pipeline: it has no {INDEX}; {rule}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / INDEX} cannot be read ({error}); {rule}") from None
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind != "StableDiffusionPipeline":
        raise InputError(f"{folder} holds a {kind}, but LoRA needs a StableDiffusionPipeline; {rule}")
    for part in PARTS:
        if not (folder / part).is_dir():
            raise InputError(f"{folder} is an incomplete pipeline: it has no folder {part!r}; {rule}")
        if part in WEIGHED:
            _check_safe(folder / part)


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Name the folder in errors of diffusers and transformers while a net is loaded from it.

    Raises:
        InputError: files are missing, or weights do not match the net that their configuration describes.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder} cannot be loaded: {reason[:300]}. Save or download it again") from None


@dataclass(frozen=True)
class Autoencoding:
    """An autoencoder in a folder, as saved by diffusers.

    Attributes:
        kind: its class in diffusers.
        digest: SHA-256 over the files that it is loaded from.
        factor: downsampling factor: side of the square of pixels for one position of its latents.
        channels: of its latents.
    """

    folder: Path
    kind: str
    digest: str
    factor: int
    channels: int

    def check_side(self, side: int, levels: int) -> None:
        """Check that the autoencoder and a net with this number of levels can downsample images of a side evenly.

        Raises:
            InputError: the side is no multiple of the product of both downsampling factors.
        """
        multiple = self.factor * 2 ** (levels - 1)
        if side % multiple:
            raise InputError(
                f"the autoencoder downsamples images by {self.factor}, and each of the {levels} levels of "
                f"`generator.block_channels` except the first by 2, so sides of images are multiples of {multiple}; "
                f"got {side}. Set `data: {{size: ...}}`"
            )


AUTOENCODERS = ("AutoencoderKL", "VQModel")
WITHIN = ("vqvae", "vae")
"""Folders of pipelines that hold the autoencoder."""


def autoencoder_in(folder: Path) -> Autoencoding:
    """The autoencoder in a folder, or in the pipeline that the folder holds.

    Raises:
        InputError: there is none, it is of another kind, or its weights are stored as a pickle.
    """
    rule = f"a base for latents is an {' or a '.join(AUTOENCODERS)} saved by diffusers, or a pipeline with one"
    places = [place for place in (folder, *(folder / name for name in WITHIN)) if (place / "config.json").is_file()]
    if not places:
        raise InputError(f"{folder} has no config.json of an autoencoder; {rule}")
    place = places[0]
    try:
        config = _config(place)
        kind, channels = config["_class_name"], int(config["latent_channels"])
        factor = 2 ** (len(config["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place / 'config.json'} does not describe an autoencoder ({error!r}); {rule}") from None
    if kind not in AUTOENCODERS:
        raise InputError(f"{place} holds a {kind}; {rule}")
    _check_safe(place)
    files = sorted(file for file in place.iterdir() if file.is_file())
    digest = _digest(place, tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))
    return Autoencoding(place, kind, digest, factor, channels)


def _check_safe(part: Path) -> None:
    """Check that a folder has safetensors weights, and that each file is readable and complete."""
    if weights := sorted(part.glob(SAFE)):
        for file in weights:
            _shapes_in(file)
        return
    pickled = sorted(file.name for file in part.iterdir() if file.suffix in PICKLED)
    content = f"only {pickled[0]}, and pickles are not loaded because they can run code" if pickled else "no weights"
    raise InputError(f"{part} holds {content}; save it with `safe_serialization=True`, the default of diffusers")


def _shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file, by name; only the header is read, and checked against the file's length."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read ({error}); copy or download it again") from None


def side_multiple(folder: Path) -> int:
    """The downsampling factor of a pipeline's autoencoder; sides of images are multiples of it."""
    config = _config(folder / "vae")
    return int(2 ** (len(config["block_out_channels"]) - 1))


def digest_of_pipeline(folder: Path) -> str:
    """SHA-256 over every file that a pipeline is loaded from; other files do not change it."""
    files = sorted(file for part in PARTS for file in (folder / part).rglob("*") if file.is_file())
    return _digest(folder, tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache
def _digest(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, _, _ in files:
        if file.suffix in (".json", ".txt", ".safetensors"):
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config
