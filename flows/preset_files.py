"""The presets: configurations of runs that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from royalty.flows.strict_yaml import read_yaml

FIRST_PRESET = "letters"
"""The preset of a run that names neither a file nor a preset."""

PLACES = {
    "cifar": "the archive cifar-10-python.tar.gz, or Parquet files of CIFAR-10",
    "cifar20": "the archive cifar-100-python.tar.gz, or Parquet files of CIFAR-100",
    "celeba-hq": "the folder CelebAMask-HQ, with identity_CelebA.txt in it",
    "artbench": "the folder of ArtBench-10, with ArtBench-10.csv in it",
}
"""By source, the files or folder that `--data` has to name."""


def preset_names() -> list[str]:
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("royalty.flows").joinpath("presets").iterdir()
        if entry.is_file()
    )


def preset_values(preset: str) -> dict[str, Any]:
    """The contents of a preset's file."""
    text = files("royalty.flows").joinpath("presets", f"{preset}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = read_yaml(text)
    return values


def place_of_preset(preset: str) -> str:
    """Description of the path that `--data` has to name for a preset; empty if the images come with a package."""
    return PLACES.get(source_of(preset_values(preset)), "")


def source_of(values: Mapping[str, Any]) -> str:
    """The kind of image source that the contents of a configuration file name."""
    data = values.get("data", {})
    return str(data.get("source", "digits")) if isinstance(data, dict) else ""
