"""Folders that hold a Stable Diffusion pipeline, as diffusers saves one; checked without torch."""

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
    """Refuse what is no Stable Diffusion pipeline, or has weights that would have to be unpickled.

    Raises:
        InputError: with what is missing.
    """
    rule = "a base is a folder that holds a Stable Diffusion pipeline, as `pipeline.save_pretrained(folder)` writes it"
    if folder.is_file() and folder.suffix in PICKLED:
        raise InputError(f"{folder} is pickled, and nothing pickled is read, since it can run code; {rule}")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no pipeline: it holds no {INDEX}; {rule}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / INDEX} cannot be read ({error}); {rule}") from None
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind != "StableDiffusionPipeline":
        raise InputError(f"{folder} holds a {kind}, and LoRA is trained on a StableDiffusionPipeline; {rule}")
    for part in PARTS:
        if not (folder / part).is_dir():
            raise InputError(f"{folder} is no whole pipeline: it has no folder {part!r}; {rule}")
        if part in WEIGHED:
            _check_safe(folder / part)


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Say which folder it was, where diffusers or transformers cannot make a net of what is in it.

    Raises:
        InputError: files are missing, or weights are not those of the net that their configuration describes.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"{folder} cannot be loaded: {told[:300]}. Save or download it again") from None


@dataclass(frozen=True)
class Autoencoding:
    """An autoencoder in a folder, as diffusers saved it.

    Attributes:
        kind: its class in diffusers.
        digest: SHA-256 over the files that it is loaded from.
        factor: side of the square of pixels that one place of its latents stands for.
        channels: of its latents.
    """

    folder: Path
    kind: str
    digest: str
    factor: int
    channels: int

    def check_side(self, side: int, levels: int) -> None:
        """Refuse images whose side the autoencoder, and a net of so many levels, cannot halve as often as they do.

        Raises:
            InputError: with the multiple that it has to be.
        """
        multiple = self.factor * 2 ** (levels - 1)
        if side % multiple:
            raise InputError(
                f"the autoencoder makes one place of {self.factor} by {self.factor} pixels, and each of the {levels} "
                f"levels of `generator.block_channels` but the first halves that again, so sides of images are "
                f"multiples of {multiple}; got {side}. Set `data: {{size: ...}}`"
            )


AUTOENCODERS = ("AutoencoderKL", "VQModel")
WITHIN = ("vqvae", "vae")
"""Where pipelines have their autoencoder."""


def autoencoder_in(folder: Path) -> Autoencoding:
    """The autoencoder that a folder holds, or that the pipeline in it has.

    Raises:
        InputError: there is none, it is of another kind, or has weights that would have to be unpickled.
    """
    rule = f"latents are those of an {' or a '.join(AUTOENCODERS)} that diffusers saved, or of a pipeline with one"
    places = [place for place in (folder, *(folder / name for name in WITHIN)) if (place / "config.json").is_file()]
    if not places:
        raise InputError(f"{folder} holds no config.json of an autoencoder; {rule}")
    place = places[0]
    try:
        config = _config(place)
        kind, channels = config["_class_name"], int(config["latent_channels"])
        factor = 2 ** (len(config["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place / 'config.json'} describes no autoencoder ({error!r}); {rule}") from None
    if kind not in AUTOENCODERS:
        raise InputError(f"{place} holds a {kind}; {rule}")
    _check_safe(place)
    files = sorted(file for file in place.iterdir() if file.is_file())
    digest = _digest(place, tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))
    return Autoencoding(place, kind, digest, factor, channels)


def _check_safe(part: Path) -> None:
    """Refuse a folder of weights that has none, none but pickled ones, or a file that is damaged or cut short."""
    if weights := sorted(part.glob(SAFE)):
        for file in weights:
            _shapes_in(file)
        return
    pickled = sorted(file.name for file in part.iterdir() if file.suffix in PICKLED)
    found = f"only {pickled[0]}, and nothing pickled is read, since it can run code" if pickled else "no weights"
    raise InputError(f"{part} holds {found}; save it with `safe_serialization=True`, which is diffusers' default")


def _shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file, by their names: its header is read, and the length that it promises compared."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read ({error}); copy or download it again") from None


def side_multiple(folder: Path) -> int:
    """Sides of images are multiples of this: the side of a square that the autoencoder makes one number of."""
    config = _config(folder / "vae")
    return int(2 ** (len(config["block_out_channels"]) - 1))


def digest_of_pipeline(folder: Path) -> str:
    """SHA-256 over every file that a model is loaded from: changes when, and only when, one of them does."""
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
