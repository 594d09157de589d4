"""The reference of settings, from the pydantic models that check a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from descriptions import Described
from product import (
    DEFAULTS_BY_KIND,
    AddedConfig,
    CreditConfig,
    CriteriaSettings,
    DetectConfig,
    DetectionConfig,
    DistanceConfig,
    GMValuatorConfig,
    IndexConfig,
    MemorizationConfig,
    SelectConfig,
    StageConfig,
    ValueConfig,
)
from tables import HEAD, anchor, settings_table, table

COLUMNS = ("Key", "Meaning", "Default", "Values")
KINDS = ("kind", "source")
"""Keys whose value says which of several sections of one name is meant."""

RUN = """# Run settings

The file of `royalty run --config FILE`, `royalty revalue --config FILE`, and every preset. All settings except those
marked *required* have defaults. An unknown key is an error. Relative paths are looked up from the file's own folder.

The section [`payout`](#payout) is also the whole content of the file of `royalty payout --policy FILE`.

"""

BY_KIND = """## Defaults that depend on `generator.kind`

These defaults replace those above. Settings that you give always take precedence.

"""

VALUE = """# Value settings

The files of `royalty value METHOD --config FILE`. Options given on the command line take precedence over the file.
Relative paths are looked up from the file's own folder. An unknown key is an error.

## `royalty value lava`, `sava` and `knn-shapley`

"""

DETECT = """## `royalty detect`

"""

DISTANCE = """## `royalty distance`

"""

SELECT = """## `royalty select`

"""

MATCH = """## `royalty value gmvaluator`

"""

INDEX = """## `royalty index build`

"""

EVALUATION = """# Evaluation settings

The files of `royalty evaluate COMMAND --config FILE`. Options given on the command line take precedence over the file.
Relative paths are looked up from the file's own folder. An unknown key is an error.

The commands `royalty evaluate lds` and `royalty evaluate counterfactual` take presets, whose section
[`evaluation`](run-settings.md#evaluation) defines how they evaluate credit.

## `royalty evaluate detection`

"""

CRITERIA = """## `royalty evaluate identity`, `attributes`, `membership`, `outliers`, `efficiency` and `causes`

"""

MEMORIZATION = """## `royalty evaluate memorization`

"""

Documented = dict[type[StageConfig], str]
"""The address of the section of each model that has one: a model that several files share is described once."""


def settings_pages() -> dict[str, str]:
    """Page by file name."""
    documented: Documented = {}

    def section(page: str, name: str, model: type[StageConfig], level: int) -> str:
        described = Described(name)
        text = "".join(Sections(page, described, documented, level).of(model, "", ""))
        described.check_complete()
        return text

    run, value, evaluation = "run-settings.md", "value-settings.md", "evaluation-settings.md"
    return {
        run: HEAD + RUN + section(run, "run", CreditConfig, 2) + BY_KIND + _defaults_by_kind(),
        value: HEAD
        + VALUE
        + section(value, "value", ValueConfig, 3)
        + DETECT
        + section(value, "detect", DetectConfig, 3)
        + DISTANCE
        + section(value, "distance", DistanceConfig, 3)
        + SELECT
        + section(value, "select", SelectConfig, 3)
        + MATCH
        + section(value, "gmvaluator", GMValuatorConfig, 3)
        + INDEX
        + section(value, "index", IndexConfig, 3),
        evaluation: HEAD
        + EVALUATION
        + section(evaluation, "detection", DetectionConfig, 3)
        + CRITERIA
        + section(evaluation, "criteria", CriteriaSettings, 3)
        + MEMORIZATION
        + section(evaluation, "memorization", MemorizationConfig, 3),
    }


def _defaults_by_kind() -> str:
    rows = [
        (f"`{kind}`", f"`{section}.{key}`", _shown(value))
        for kind, sections in DEFAULTS_BY_KIND.items()
        for section, values in sections.items()
        for key, value in values.items()
    ]
    return table(("Kind", "Key", "Default"), rows)


@dataclass
class Sections:
    """The tables of one page: of a model's own keys, and then of each model within it."""

    page: str
    described: Described
    documented: Documented
    level: int
    written: set[type[StageConfig]] = field(default_factory=set)

    def of(self, model: type[StageConfig], path: str, variant: str) -> Iterator[str]:
        """Markdown of a model at a dotted path, of which `variant` chooses one."""
        properties = model.model_json_schema(mode="validation")["properties"]
        nested: list[tuple[str, type[StageConfig]]] = []
        rows = []
        for name, known in model.model_fields.items():
            key = f"{path}.{name}".removeprefix(".")
            meaning = self.described.text(key, variant)
            within = list(_models(known.annotation))
            links = self._links(key, within)
            nested += [
                (key, one) for one in within if self.documented[one] == f"{self.page}#{anchor(_title(key, one))}"
            ]
            if within and not _takes_plain_values(properties[name]):
                rows.append((f"`{name}`", meaning, "", links))
                continue
            default = self.described.default(key, variant)
            default = default or ("*required*" if known.is_required() else _shown(properties[name].get("default")))
            rows.append((f"`{name}`", meaning, default, _accepted(properties[name]) + (f", or {links}" * bool(within))))
        yield settings_table(COLUMNS, rows) + "\n"
        for key, one in nested:
            if one in self.written:
                continue
            self.written.add(one)
            yield f"{'#' * self.level} {_title(key, one)}\n\n"
            yield from self.of(one, key, _variant(one))

    def _links(self, key: str, models: list[type[StageConfig]]) -> str:
        links = []
        for model in models:
            address = self.documented.setdefault(model, f"{self.page}#{anchor(_title(key, model))}")
            name = f"`{_variant(model)}`" if _variant(model) else "section"
            links.append(f"[{name}]({address.removeprefix(self.page)})")
        return ", ".join(links)


def _takes_plain_values(schema: dict[str, Any]) -> bool:
    """Whether a plain value may stand in a model's place."""
    return any("type" in one and one["type"] != "null" for one in [schema, *schema.get("oneOf", ())])


def _models(annotation: Any) -> Iterator[type[StageConfig]]:
    # The keys of an added kind are those of its registry's line, and no model's.
    if isinstance(annotation, type) and issubclass(annotation, StageConfig) and annotation is not AddedConfig:
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _choices(model: type[StageConfig]) -> tuple[str, tuple[str, ...]]:
    """The key that chooses a model among several, with its values; empty if there is nothing to choose."""
    chosen = ((key, get_args(model.model_fields[key].annotation)) for key in KINDS if key in model.model_fields)
    return next(((key, values) for key, values in chosen if values), ("", ()))  # a plain text chooses nothing


def _variant(model: type[StageConfig]) -> str:
    return next(iter(_choices(model)[1]), "")


def _title(key: str, model: type[StageConfig]) -> str:
    name, values = _choices(model)
    return f"`{key}` with {name} {', '.join(f'`{value}`' for value in values)}" if name else f"`{key}`"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"`{value:.1e}`"
    written = value if isinstance(value, str) else json.dumps(value)
    return f"`{written}`" if written else "none"


def _accepted(schema: dict[str, Any]) -> str:
    """What a JSON schema accepts, in words."""
    for several in ("anyOf", "oneOf"):
        if several in schema:
            parts = (_accepted(one) for one in schema[several] if one.get("type") != "null" and "$ref" not in one)
            return ", or ".join(dict.fromkeys(filter(None, parts)))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of ({_accepted(schema['items'])})" if "items" in schema else "list"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"mapping to ({_accepted(values)})" if isinstance(values, dict) and values else "mapping"
    names = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    kind = "path" if schema.get("format") == "path" else names.get(schema.get("type", ""), "")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[bound]}" for bound, sign in signs.items() if bound in schema]
    if "multipleOf" in schema:
        limits.append(f"a multiple of {schema['multipleOf']}")
    return ", ".join([kind, *limits])
