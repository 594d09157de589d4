"""Strict check of facets against the classes that OpenLineage generates from its published schemas.

The classes themselves accept values of any type. Here unknown and missing fields and wrong types are errors.
"""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import attr
from openlineage.client import generated
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run

ENVELOPES = {"inputs": InputDataset, "outputs": OutputDataset}
STATES = {"START", "COMPLETE", "FAIL"}


def facet_classes() -> dict[str, type[Any]]:
    """The class of each facet, by the address of its schema."""
    modules = [
        importlib.import_module(f"{generated.__name__}.{found.name}")
        for found in pkgutil.iter_modules(generated.__path__)
    ]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type) and attr.has(kind)}
    return {
        kind._get_schema(): kind for kind in kinds if kind.__name__.endswith("Facet") and hasattr(kind, "_get_schema")
    }


def check_event(event: dict[str, Any]) -> set[str]:
    """Check the facets of an event, and return their names.

    Raises:
        AssertionError: a facet is not as its class says, or the event lacks what the schema of events requires.
        ValueError: a time or an ID is not written as the schema requires.
    """
    assert event["eventType"] in STATES, event["eventType"]
    assert datetime.fromisoformat(event["eventTime"]).tzinfo, event["eventTime"]
    assert_address(event["producer"], event["schemaURL"])
    UUID(event["run"]["runId"])
    check(event["run"], Run)
    check(event["job"], Job)
    facets = {**event["run"]["facets"], **{f"job.{name}": facet for name, facet in event["job"]["facets"].items()}}
    for side, kind in ENVELOPES.items():
        for dataset in event.get(side, ()):
            check(dataset, kind)
            for group in ("facets", "inputFacets", "outputFacets"):
                facets |= {f"{side}.{name}": facet for name, facet in (dataset.get(group) or {}).items()}
    classes = facet_classes()
    for facet in facets.values():
        assert_address(facet["_producer"], facet["_schemaURL"])
        check(facet, classes[facet["_schemaURL"]])
    if parent := facets.get("parent"):
        UUID(parent["run"]["runId"])
    return set(facets)


def assert_address(*values: str) -> None:
    for value in values:
        parts = urlsplit(value)
        assert parts.scheme, value
        assert parts.netloc, value


def check(value: Any, expected: Any) -> None:
    """Compare a JSON value with a type, into its fields; facets are checked by `check_event`."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        check(value, next(kind for kind in arguments if (kind is type(None)) == (value is None)))
    elif origin is list:
        assert isinstance(value, list), value
        for item in value:
            check(item, arguments[0])
    elif origin is dict:
        assert isinstance(value, dict), value
        for item in value.values():
            if not (attr.has(arguments[1]) and arguments[1].__name__.endswith("Facet")):
                check(item, arguments[1])
    elif attr.has(expected):
        hints = typing.get_type_hints(expected)
        fields = {field.name: field for field in attr.fields(expected)}
        required = {name for name, field in fields.items() if field.default is attr.NOTHING}
        assert required <= set(value) <= set(fields), (expected, set(value) ^ set(fields))
        for name, item in value.items():
            check(item, hints[name])
    else:
        allowed = (int, float) if expected is float else expected
        assert isinstance(value, allowed), (value, expected)
        assert not isinstance(value, bool), value
