"""Read a configuration file or a preset, and explain its errors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from royalty.flows.preset_files import FIRST_PRESET, place_of_preset, preset_names, preset_values, source_of
from royalty.flows.strict_yaml import LARGEST, read_yaml
from royalty.infra.settings import settings
from royalty.models.base.errors import InputError, by_name
from royalty.models.base.reading import check_size
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.config.base import StageConfig
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.criteria_settings import CriteriaSettings
from royalty.tasks.config.detecting import DetectConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.config.distance import DistanceConfig
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.config.memorization import MemorizationConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.selection import SelectConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource
from royalty.tasks.config.values import ValueConfig


def _subclasses(parent: type[StageConfig]) -> Iterator[type[StageConfig]]:
    for model in parent.__subclasses__():
        yield model
        yield from _subclasses(model)


KEYS = {key for model in _subclasses(StageConfig) for key in model.model_fields}

SIDES = {
    key
    for model in _subclasses(StageConfig)
    for key, field in model.model_fields.items()
    if Path in (field.annotation, *get_args(field.annotation))
}
"""Settings that are the path of a file or folder."""

SOURCES: dict[str, type[StageConfig]] = {
    name: model
    for model in (*get_args(EmbeddedSource), *get_args(FileSource))
    for name in get_args(model.model_fields["source"].annotation)
}

PATHS = {name: model.model_fields["path"] for name, model in SOURCES.items() if "path" in model.model_fields}

FILES = {name for name, path in PATHS.items() if path.is_required()}
"""Image sources that need a path; the images of other sources can come with a package."""

PACKAGED = PATHS.keys() - FILES
"""Image sources whose images can come with a package, and that may be given a path."""

Config = TypeVar("Config", bound=StageConfig)


class ConfigError(ValueError):
    """An invalid configuration; the message gives file, key, value and remedy."""


def load_config(
    file: str | Path | None = None,
    preset: str | None = None,
    name: str | None = None,
    data: str | Path | None = None,
    *,
    pay: bool = False,
) -> CreditConfig:
    """Load the configuration of a run from a file or a preset (default: `letters`).

    A relative image path in a file is resolved against the folder of the file.

    Args:
        file: a YAML file; the reference of run settings lists its keys.
        preset: a configuration in the package, instead of a file: `royalty presets` lists them.
        name: name of the run; by default the file's `name`, or else the name of the file.
        data: path of the images, which replaces `data.path`; relative to the current folder.
        pay: post the payout, as `payout.post` does.

    Returns:
        A frozen pydantic model with a field for each stage.

    Raises:
        ConfigError: an unreadable file, an unknown key or preset, or a value out of range; `data` without file and
            preset, or for a source whose images come with a package; no `data` for a preset that needs it.

    Examples:
        >>> import royalty
        >>> config = royalty.load_config(preset="digits", name="mine")
        >>> config.name, config.coalitions.count
        ('mine', 62)
    """
    file, data = None if file is None else Path(file), None if data is None else Path(data)
    if file is not None and preset is not None:
        raise ConfigError("a run has one configuration: pass `--config` or `--preset`, not both")
    if data is not None and file is None and preset is None:
        raise ConfigError(
            f"`--data {data}` names the images of a configuration; pass `--config FILE` or `--preset NAME` with it"
        )
    if file is not None:
        file = _found(file)
        values = _from_folder(_parse(str(file), _read(file)), file.absolute().parent)
        values.setdefault("name", file.stem)
    else:
        preset = preset or FIRST_PRESET
        try:
            by_name(preset, dict.fromkeys(preset_names()), "preset")
        except InputError as error:
            raise ConfigError(str(error)) from None
        values = preset_values(preset)
        if data is None and (place := place_of_preset(preset)):
            raise ConfigError(f"the preset {preset!r} needs the path of its images; pass `--data PATH`, {place}")
    if data is not None:
        if source_of(values) not in FILES | PACKAGED:
            raise ConfigError(
                f"the images of {file or preset} come with a package, so `--data {data}` does not apply; "
                "remove it, or choose a source that reads files"
            )
        values["data"]["path"] = str(_expanded(data).absolute())
    if name is not None:
        values["name"] = name
    if pay:
        values["payout"] = {**(values.get("payout") or {}), "post": True}
    return _validated(CreditConfig, values, str(file or preset))


def as_credit_config(config: CreditConfig | Mapping[str, Any] | str | Path) -> CreditConfig:
    """Convert the contents of a configuration file, or its path, to a configuration; return a configuration as it is.

    Relative paths in a mapping are resolved against `ROYALTY_FOLDER`, or else the current folder. So is the path of a
    file; the paths in it are resolved against its own folder.

    Raises:
        ConfigError: as for `load_config`.
    """
    if isinstance(config, CreditConfig):
        return config
    if isinstance(config, Mapping):
        return _validated(CreditConfig, _from_folder(config, _folder()), "the mapping")
    return load_config(config)


def as_value_config(config: ValueConfig | Mapping[str, Any] | str | Path) -> ValueConfig:
    """Convert settings or the path of a file to the configuration of a valuation; see `as_credit_config`."""
    return config if isinstance(config, ValueConfig) else _loaded(config, load_value_config)


def as_detect_config(config: DetectConfig | Mapping[str, Any] | str | Path) -> DetectConfig:
    """Convert settings or the path of a file to the configuration of a detection; see `as_credit_config`."""
    return config if isinstance(config, DetectConfig) else _loaded(config, load_detect_config)


def as_distance_config(config: DistanceConfig | Mapping[str, Any] | str | Path) -> DistanceConfig:
    """Convert settings or the path of a file to the configuration of a distance; see `as_credit_config`."""
    return config if isinstance(config, DistanceConfig) else _loaded(config, load_distance_config)


def as_select_config(config: SelectConfig | Mapping[str, Any] | str | Path) -> SelectConfig:
    """Convert settings or the path of a file to the configuration of a selection; see `as_credit_config`."""
    return config if isinstance(config, SelectConfig) else _loaded(config, load_select_config)


def as_gmvaluator_config(config: GMValuatorConfig | Mapping[str, Any] | str | Path) -> GMValuatorConfig:
    """Convert settings or the path of a file to the configuration of a match; see `as_credit_config`."""
    return config if isinstance(config, GMValuatorConfig) else _loaded(config, load_gmvaluator_config)


def as_memorization_config(config: MemorizationConfig | Mapping[str, Any] | str | Path) -> MemorizationConfig:
    """Convert settings or the path of a file to the configuration of a memorization test; see `as_credit_config`."""
    return config if isinstance(config, MemorizationConfig) else _loaded(config, load_memorization_config)


def as_payout_config(config: PayoutConfig | Mapping[str, Any] | str | Path) -> PayoutConfig:
    """Convert a mapping, or the path of a YAML file, to terms of a payout; see `as_credit_config`."""
    if isinstance(config, PayoutConfig):
        return config
    if isinstance(config, Mapping):
        return _validated(PayoutConfig, config, "the mapping")
    return load_payout_config(_found(Path(config)), {}, {}, {})


def _loaded(config: Mapping[str, Any] | str | Path, load: Callable[[Path | None, Mapping[str, Any]], Config]) -> Config:
    """The configuration of a valuation or match, from its settings or the path of a file."""
    if isinstance(config, Mapping):
        return load(None, _sides_from(config, _folder()))
    return load(_found(Path(config)), {})


def _folder() -> Path:
    """The folder against which relative paths are resolved that stand in no file."""
    return settings().folder or Path.cwd()


def _found(file: Path) -> Path:
    """The path of a configuration file, under `ROYALTY_FOLDER` if that is set and the path is relative."""
    folder = settings().folder
    return _expanded(file) if folder is None else folder / _expanded(file)


def _from_folder(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings of a run whose paths are resolved against a folder."""
    resolved = dict(values)
    source, generator, payout = (values.get(key) for key in ("data", "generator", "payout"))
    if isinstance(payout, Mapping):
        resolved["payout"] = _sides_from(payout, folder)
    if isinstance(source, Mapping):
        resolved["data"] = _sides_from(source, folder)
        if isinstance(source.get("files"), list | tuple):
            resolved["data"]["files"] = [str(folder / _expanded(Path(str(file)))) for file in source["files"]]
    if isinstance(generator, Mapping) and str(generator.get("base", "")).startswith((".", "/", "~")):
        resolved["generator"] = {
            **generator,
            "base": str((folder / _expanded(Path(generator["base"]))).resolve()),
        }
    return resolved


def _sides_from(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings whose paths are resolved against a folder."""
    sides = {side: values[side] for side in SIDES if isinstance(values.get(side), str)}
    return {**values, **{side: str(folder / _expanded(Path(path))) for side, path in sides.items()}}


def load_value_config(file: Path | None, overrides: Mapping[str, Any]) -> ValueConfig:
    """Load the configuration of a valuation: the settings of a file, replaced by overrides that are not None.

    Relative paths in the file are resolved against the folder of the file.

    Raises:
        ConfigError: as for `load_config`.
    """
    values = _merged(file, overrides)
    values.setdefault("name", f"values-{values.get('method')}")
    return _validated(ValueConfig, values, str(file or "the command line"))


def load_detect_config(file: Path | None, overrides: Mapping[str, Any]) -> DetectConfig:
    """Load the configuration of a detection of faulty items; see `load_value_config`."""
    return _validated(DetectConfig, _merged(file, overrides), str(file or "the command line"))


def load_distance_config(file: Path | None, overrides: Mapping[str, Any]) -> DistanceConfig:
    """Load the configuration of a distance of two sets; see `load_value_config`."""
    return _validated(DistanceConfig, _merged(file, overrides), str(file or "the command line"))


def load_select_config(file: Path | None, overrides: Mapping[str, Any]) -> SelectConfig:
    """Load the configuration of a selection of items; see `load_value_config`."""
    return _validated(SelectConfig, _merged(file, overrides), str(file or "the command line"))


def load_gmvaluator_config(file: Path | None, overrides: Mapping[str, Any]) -> GMValuatorConfig:
    """Load the configuration for matching generated images; see `load_value_config`."""
    values = _merged(file, overrides)
    values.setdefault("name", "values-gmvaluator")
    return _validated(GMValuatorConfig, values, str(file or "the command line"))


def load_memorization_config(file: Path | None, overrides: Mapping[str, Any]) -> MemorizationConfig:
    """Load the configuration of a test for memorized training images; see `load_value_config`."""
    return _validated(MemorizationConfig, _merged(file, overrides), str(file or "the command line"))


def load_index_config(file: Path | None, overrides: Mapping[str, Any]) -> IndexConfig:
    """Load the configuration of an index; see `load_value_config`. The file's name is no setting of it."""
    values: dict[str, Any] = {} if file is None else _sides_from(_parse(str(file), _read(file)), file.absolute().parent)
    values |= {key: value for key, value in overrides.items() if value is not None}
    return _validated(IndexConfig, values, str(file or "the command line"))


def load_detection_config(file: Path | None, overrides: Mapping[str, Any]) -> DetectionConfig:
    """Load the configuration of an evaluation with planted corruptions; see `load_value_config`."""
    return _validated(DetectionConfig, _merged(file, overrides), str(file or "the command line"))


def load_criteria_config(file: Path | None, overrides: Mapping[str, Any]) -> CriteriaSettings:
    """Load the configuration of an evaluation by the criteria of the GMValuator paper; see `load_value_config`."""
    return _validated(CriteriaSettings, _merged(file, overrides), str(file or "the command line"))


def load_payout_config(
    file: Path | None, run_terms: Mapping[str, Any], overrides: Mapping[str, Any], debtor: Mapping[str, Any]
) -> PayoutConfig:
    """Load the terms of a payout: those of a file, or else of the run, replaced by overrides that are not None.

    Raises:
        ConfigError: as for `load_config`.
    """
    values = dict(run_terms) if file is None else _sides_from(_parse(str(file), _read(file)), file.absolute().parent)
    values |= {key: value for key, value in overrides.items() if value is not None}
    if any(debtor.values()):
        values["debtor"] = (values.get("debtor") or {}) | {key: value for key, value in debtor.items() if value}
    return _validated(PayoutConfig, values, str(file or "the command line"))


def _merged(file: Path | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if file is not None:
        values = _sides_from(_parse(str(file), _read(file)), file.absolute().parent)
        values.setdefault("name", file.stem)
    return values | {key: value for key, value in overrides.items() if value is not None}


def _validated(kind: type[Config], values: Mapping[str, Any], source: str) -> Config:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(problems)) from None


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError(f"nobody on this machine is {path.parts[0]!r}; write {str(path)!r} from the root") from None


def _read(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise ConfigError(f"{file} is no file; name a file of the form `key: value`")
    try:
        if file.exists():
            check_size(file, LARGEST * 4, "a configuration", "name a file of the form `key: value`")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8; save it as UTF-8") from None
    except InputError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        place = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise ConfigError(f"cannot read the configuration {file}{place}: {error.strerror}") from None


def read_mapping(file: Path) -> dict[str, Any]:
    """A YAML file as a mapping, by the strict rules of configurations.

    Raises:
        ConfigError: it cannot be read, or is not a mapping.
    """
    return _parse(str(file), _read(file))


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        values = read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{source} is empty or not a mapping; a configuration has lines of the form `key: value`")
    return values


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    source = SOURCES.get(path[1]) if path[:1] == ["data"] and len(path) == 3 else None
    if path[:1] in (["data"], ["generator"]) and len(path) > 1:
        del path[1]  # the name of the union's member, which pydantic inserts
    where = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = set(source.model_fields) if source else KEYS
        near = difflib.get_close_matches(path[-1], sorted(known - {path[-1]}), n=1)
        return f"unknown key `{where}`" + (f"; did you mean `{near[0]}`?" if near else "; remove it")
    if problem["type"].startswith("union_tag"):
        return f"`{where}.source`: set the source, for example `digits` or `folder`"
    if problem["type"] == "missing" and where in ("train", "val", "generated", "budget"):
        return f"`{where}` is missing; pass `--{where}`, or set `{where}:` in the configuration"
    if where == "name":
        return (
            "`name`: use at most 64 letters, digits, `_`, `.` and `-` "
            f"(got {problem['input']!r}); set `name:` or `--name`"
        )
    message = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    repeated = isinstance(value, str) and repr(value) in message
    received = f" (got {value!r})" if isinstance(value, str | int | float) and not repeated else ""
    return (f"`{where}`: " if where else "") + f"{message[0].lower()}{message[1:]}{received}"
