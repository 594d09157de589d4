"""Read a configuration file or a preset, and say clearly what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from royalty.models.base.errors import InputError, by_name
from royalty.tasks.config.base import StageConfig
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import FileSource
from royalty.tasks.config.values import ValueConfig


def _every_model(of: type[StageConfig]) -> Iterator[type[StageConfig]]:
    for model in of.__subclasses__():
        yield model
        yield from _every_model(model)


KEYS = {key for model in _every_model(StageConfig) for key in model.model_fields}

FILES = {name for model in get_args(FileSource) for name in get_args(model.model_fields["source"].annotation)}
"""Sources of images that lie somewhere; the others come with a package."""

PLACES = {
    "cifar": "the archive cifar-10-python.tar.gz, or Parquet files of CIFAR-10",
    "cifar20": "the archive cifar-100-python.tar.gz, or Parquet files of CIFAR-100",
    "celeba-hq": "the folder CelebAMask-HQ, with identity_CelebA.txt in it",
    "artbench": "the folder of ArtBench-10, with ArtBench-10.csv in it",
}
"""What presets of a source are used with."""

Config = TypeVar("Config", bound=StageConfig)


class ConfigError(ValueError):
    """A configuration cannot be used; the message names file, key, value and remedy."""


def preset_names() -> list[str]:
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("royalty.flows").joinpath("presets").iterdir()
        if entry.is_file()
    )


def load_config(
    file: str | Path | None = None,
    preset: str | None = None,
    name: str | None = None,
    data: str | Path | None = None,
) -> CreditConfig:
    """The configuration of a file, or of a preset (`digits` unless given), under another name if asked.

    A relative image folder is looked up from where the file lies.

    Args:
        file: a YAML file; the README lists its keys.
        preset: a configuration that comes with the package, in place of a file: `royalty presets` lists them.
        name: of the run; that of the file unless given here or there.
        data: where the images lie, in place of what the configuration says; from where the command is given.

    Returns:
        A frozen pydantic model with a field for each stage.

    Raises:
        ConfigError: an unreadable file, an unknown key or preset, or a value out of range; a place of images where
            they come with a package, or none where they do not.

    Examples:
        >>> import royalty
        >>> config = royalty.load_config(preset="digits", name="mine")
        >>> config.name, config.coalitions.count
        ('mine', 62)
    """
    file, data = None if file is None else Path(file), None if data is None else Path(data)
    if file is not None and preset is not None:
        raise ConfigError("a run has one configuration: give `--config` or `--preset`, not both")
    if file is not None:
        values = _parse(str(file), _read(file))
        source = values.get("data")
        if isinstance(source, dict) and isinstance(source.get("path"), str):
            source["path"] = str(file.absolute().parent / Path(source["path"]).expanduser())
        generator = values.get("generator")
        if isinstance(generator, dict) and str(generator.get("base", "")).startswith((".", "/", "~")):
            generator["base"] = str((file.absolute().parent / Path(generator["base"]).expanduser()).resolve())
        values.setdefault("name", file.stem)
    else:
        chosen = preset or "digits"
        try:
            by_name(chosen, dict.fromkeys(preset_names()), "preset")
        except InputError as error:
            raise ConfigError(str(error)) from None
        values = preset_values(chosen)
        kind = _source_of(values)
        if kind in FILES and data is None:
            raise ConfigError(
                f"the preset {chosen!r} says how images are credited, not where they lie; give `--data PATH`, "
                f"{PLACES[kind]}"
            )
    if data is not None:
        if _source_of(values) not in FILES:
            raise ConfigError(
                f"{file or preset or 'digits'} has its images from a package, so `--data {data}` has no place in it; "
                "leave it out, or choose a source of files"
            )
        values["data"]["path"] = str(data.expanduser().absolute())
    if name is not None:
        values["name"] = name
    return _validated(CreditConfig, values, str(file or preset or "digits"))


def as_credit_config(given: CreditConfig | Mapping[str, Any] | str | Path) -> CreditConfig:
    """A configuration as it is; or of what a file would hold; or of a file.

    Relative paths in a mapping are looked up from the current folder.

    Raises:
        ConfigError: as of `load_config`.
    """
    if isinstance(given, CreditConfig):
        return given
    if isinstance(given, Mapping):
        return _validated(CreditConfig, given, "the mapping")
    return load_config(given)


def as_payout_config(given: PayoutConfig | Mapping[str, Any] | str | Path) -> PayoutConfig:
    """Terms of a payout, likewise."""
    if isinstance(given, PayoutConfig):
        return given
    if isinstance(given, Mapping):
        return _validated(PayoutConfig, given, "the mapping")
    return load_payout_config(Path(given), {}, {}, {})


def preset_values(preset: str) -> dict[str, Any]:
    """What a preset's file says."""
    return _parse(preset, files("royalty.flows").joinpath("presets", f"{preset}.yaml").read_text(encoding="utf-8"))


def place_of_preset(preset: str) -> str:
    """What has to be named by `--data` for a preset; empty where the images come with a package."""
    return PLACES.get(_source_of(preset_values(preset)), "")


def _source_of(values: Mapping[str, Any]) -> str:
    data = values.get("data", {})
    return str(data.get("source", "digits")) if isinstance(data, dict) else ""


def load_value_config(file: Path | None, given: Mapping[str, Any]) -> ValueConfig:
    """The configuration of a valuation: what is given, over what a file says.

    Relative paths in the file are looked up from where the file lies.

    Raises:
        ConfigError: as of `load_config`.
    """
    values = _over_file(file, given)
    values.setdefault("name", f"values-{values.get('method')}")
    return _validated(ValueConfig, values, str(file or "the command line"))


def load_gmvaluator_config(file: Path | None, given: Mapping[str, Any]) -> GMValuatorConfig:
    """The configuration of a match of generated images, likewise."""
    values = _over_file(file, given)
    values.setdefault("name", "values-gmvaluator")
    return _validated(GMValuatorConfig, values, str(file or "the command line"))


def load_detection_config(file: Path | None, given: Mapping[str, Any]) -> DetectionConfig:
    """The configuration of an evaluation by planted corruptions, likewise."""
    return _validated(DetectionConfig, _over_file(file, given), str(file or "the command line"))


def load_criteria_config(file: Path | None, given: Mapping[str, Any]) -> CriteriaConfig:
    """The configuration of an evaluation by the criteria of GMValuator's paper, likewise."""
    return _validated(CriteriaConfig, _over_file(file, given), str(file or "the command line"))


def load_payout_config(
    file: Path | None, own: Mapping[str, Any], given: Mapping[str, Any], debtor: Mapping[str, Any]
) -> PayoutConfig:
    """The terms of a payout: what is given, over what a file says, or without one over the run's own.

    Raises:
        ConfigError: as of `load_config`.
    """
    values = dict(own) if file is None else _parse(str(file), _read(file))
    if file is not None and isinstance(values.get("payees"), str):
        values["payees"] = str(file.absolute().parent / Path(values["payees"]).expanduser())
    values |= {key: value for key, value in given.items() if value is not None}
    if any(debtor.values()):
        values["debtor"] = (values.get("debtor") or {}) | {key: value for key, value in debtor.items() if value}
    return _validated(PayoutConfig, values, str(file or "the command line"))


def _over_file(file: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if file is not None:
        values = _parse(str(file), _read(file))
        for side in ("train", "val", "generated"):
            if isinstance(values.get(side), str):
                values[side] = str(file.absolute().parent / Path(values[side]).expanduser())
        values.setdefault("name", file.stem)
    return values | {key: value for key, value in given.items() if value is not None}


def _validated(kind: type[Config], values: Mapping[str, Any], source: str) -> Config:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(problems)) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{source} is empty or no mapping; a configuration has lines of the form `key: value`")
    return values


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    if path[:1] in (["data"], ["generator"]) and len(path) > 1:
        del path[1]  # the kind, which pydantic puts between a union and its fields
    where = ".".join(path)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], sorted(KEYS - {path[-1]}), n=1)
        return f"unknown key `{where}`" + (f"; did you mean `{near[0]}`?" if near else "; remove it")
    if problem["type"].startswith("union_tag"):
        return f"`{where}.source`: name the source, `digits` or `folder`"
    if where == "name":
        return (
            f"`name`: letters, digits, `_`, `.` and `-`, 64 at most (got {problem['input']!r}); set `name:` or `--name`"
        )
    message = problem["msg"].removeprefix("Value error, ")
    received = problem["input"]
    shown = f" (got {received!r})" if isinstance(received, str | int | float) else ""
    return (f"`{where}`: " if where else "") + f"{message[0].lower()}{message[1:]}{shown}"
