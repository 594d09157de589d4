"""Folders that hold a Stable Diffusion pipeline, as diffusers saves one; checked without torch."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.errors import InputError

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
        if part in WEIGHED and not any((folder / part).glob(SAFE)):
            pickled = sorted(file.name for file in (folder / part).iterdir() if file.suffix in PICKLED)
            found = (
                f"only {pickled[0]}, and nothing pickled is read, since it can run code" if pickled else "no weights"
            )
            raise InputError(
                f"{folder / part} holds {found}; save the pipeline with `safe_serialization=True`, which is diffusers' "
                "default"
            )


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
