"""The reference of the Python API: what the package exports, from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from collections.abc import Iterator
from typing import Any

from griffe import Docstring, DocstringSectionKind
from product import royalty
from tables import HEAD, table

logging.getLogger("griffe").setLevel(logging.ERROR)  # annotations stand in the signature, not in the docstring

INTRODUCTION = """# Python API

Everything here is imported from `royalty`. Names load on first use, so that `import royalty` is quick.

"""

NAMED = {
    DocstringSectionKind.parameters: "Parameter",
    DocstringSectionKind.attributes: "Attribute",
}


def api_page() -> str:
    exported = {name: getattr(royalty, name) for name in royalty.__all__ if not name.startswith("_")}
    text = HEAD + INTRODUCTION
    for name, member in exported.items():
        text += f"## `{name}`\n\n" + _described(name, member)
    results = {result.__name__: result for member in exported.values() for result in _results(member)}
    if missing := {name: kind for name, kind in results.items() if name not in exported}:
        text += "## Results\n\nFrozen dataclasses that the functions above return.\n\n"
        for name, kind in sorted(missing.items()):
            text += f"### `{name}`\n\n" + _described(name, kind)
    return text.rstrip() + "\n"


def _described(name: str, member: Any) -> str:
    signature = "" if inspect.isclass(member) and not dataclasses.is_dataclass(member) else _signature(name, member)
    return signature + "".join(_sections(inspect.getdoc(_function(member)) or ""))


def _function(member: Any) -> Any:
    """The function that a decorator, such as Prefect's, wrapped."""
    return getattr(member, "fn", member)


def _signature(name: str, member: Any) -> str:
    if isinstance(member, type) and dataclasses.is_dataclass(member):
        fields = [f"    {field.name}: {_type(field.type)}" for field in dataclasses.fields(member)]
        return "```text\n" + "\n".join([name, *fields]) + "\n```\n\n"
    signature = inspect.signature(_function(member))
    lines, keywords = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            lines.append("*")
            keywords = True
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{parameter.name}: {_type(parameter.annotation)}{default}")
    listed = "".join(f"    {line},\n" for line in lines)
    return f"```text\n{name}(\n{listed}) -> {_type(signature.return_annotation)}\n```\n\n"


def _type(annotation: Any) -> str:
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return re.sub(r"\b(?:np|torch)\.", "", written)


def _results(member: Any) -> Iterator[type]:
    """The dataclasses that a function's return annotation names."""
    function = _function(member)
    if inspect.isclass(function):
        return
    returned = getattr(function, "__annotations__", {}).get("return")
    kind = getattr(inspect.getmodule(function), str(returned), None) if isinstance(returned, str) else returned
    if dataclasses.is_dataclass(kind) and inspect.isclass(kind):
        yield kind


def _sections(docstring: str) -> Iterator[str]:
    for section in Docstring(docstring).parse("google"):
        if section.kind is DocstringSectionKind.text:
            yield f"{section.value}\n\n"
        elif section.kind in NAMED:
            rows = [(_named(one), one.description) for one in section.value]
            yield table((NAMED[section.kind], "Meaning"), rows) + "\n"
        elif section.kind is DocstringSectionKind.returns:
            yield f"**Returns**: {' '.join(_said(one) for one in section.value)}\n\n"
        elif section.kind is DocstringSectionKind.raises:
            rows = [(f"`{one.annotation}`", one.description) for one in section.value]
            yield table(("Raises", "When"), rows) + "\n"
        elif section.kind is DocstringSectionKind.examples:
            yield "".join(_example(kind, text) for kind, text in section.value)
        else:
            raise ValueError(f"no way to show the section `{section.kind.value}` of a docstring is known; add one")


def _example(kind: DocstringSectionKind, text: str) -> str:
    """A part of `Examples:`, as an interpreter shows it."""
    if kind is DocstringSectionKind.text:
        return f"{text}\n\n"
    shown = re.sub(r"  # doctest: [+\w]+$", "", text, flags=re.MULTILINE)
    return f"```pycon\n{shown}\n```\n\n"


def _said(returned: Any) -> str:
    """A sentence of `Returns:`, of which the parser takes what stands before a colon for a type."""
    before = f"{returned.annotation}: " if returned.annotation else ""
    return " ".join(f"{before}{returned.description}".split())


def _named(element: Any) -> str:
    """The name of an attribute or parameter; of several in one entry, the parser takes the others for a type."""
    names = element.name if not element.name.endswith(",") else f"{element.name} {element.annotation}"
    return ", ".join(f"`{name.strip()}`" for name in names.split(","))
