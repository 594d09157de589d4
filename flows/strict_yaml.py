"""YAML as people read it: each key once, numbers that all versions of YAML read alike, and nothing without end."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

LARGEST = 1_000_000
"""Characters of a configuration."""
DEEPEST = 32
MOST = 100_000
"""Levels, and values, of a configuration; a value that an alias repeats counts each time."""
INTEGER = r"[-+]?(0|[1-9][0-9]*)"
OTHERWISE = r"[-+]?(0[0-9]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?)"
"""What some versions of YAML read as a number, and others as another number or a text: 010, 0x1F, 0b11, 1_000."""
UNCLEAR = "tag:royalty,number"
PLAIN = (
    "which is read differently by versions of YAML; write a number in decimal digits, as 1000, or put a text in quotes"
)
NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
DIGITS = 100


class _Strict(yaml.SafeLoader):
    """The safe loader without what YAML 1.2 left out, as 1:30 to base 60 and `no` as a truth value: both are texts.

    Other numbers on which its versions differ are errors.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the library declares it so

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem(key, "a key is a text, and this is a list or a mapping")
            if key.tag == "tag:yaml.org,2002:null":
                raise _problem(
                    key, f"a key is a text, and `{key.value}` is nothing in YAML; put it in quotes or remove it"
                )
            if key.value in seen:
                raise _problem(key, f"a key stands in a mapping once, and `{key.value}` is there again")
            seen.add(key.value)
            for part in (key, *(value.value if isinstance(value, yaml.SequenceNode) else [value])):
                if part.tag == UNCLEAR:
                    raise _problem(
                        part, f"{'the key' if part is key else f'`{key.value}` has'} `{part.value}`, {PLAIN}"
                    )
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        written = str(self.construct_scalar(node))
        if len(written) > DIGITS:
            raise _problem(node, f"a number has at most {DIGITS} digits, and this has {len(written)}")
        return int(written)

    def construct_unclear(self, node: yaml.ScalarNode) -> None:
        raise _problem(node, f"a list has `{node.value}`, {PLAIN}")


_Strict.add_constructor("tag:yaml.org,2002:int", _Strict.construct_integer)
_Strict.add_constructor(UNCLEAR, _Strict.construct_unclear)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (UNCLEAR, OTHERWISE, "-+0123456789"),
    ("int", INTEGER, "-+0123456789"),
    ("float", rf"{NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Strict.add_implicit_resolver(
        _tag if _tag == UNCLEAR else f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first)
    )


def read_yaml(text: str) -> Any:
    """The value that a text holds.

    Raises:
        yaml.YAMLError: it is not YAML, repeats a key, has a tag, or a number that versions of YAML read differently,
            or has more characters, levels or values than any configuration.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"a configuration has at most {LARGEST:,} characters, and this has {len(text):,}")
    depth = 0
    for event in yaml.parse(text, _Strict):
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            raise _problem(event, "a text has no zero character, and this has one")
        if tag := getattr(event, "tag", None):
            raise _problem(
                event, f"a configuration has no tags, and this has {tag}; remove it, or put a text in quotes"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _problem(event, f"a configuration has at most {DEEPEST} levels, and this has more")
    loader = _Strict(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if (values := _values(node, {}, set())) > MOST:
            raise yaml.YAMLError(
                f"a configuration has at most {MOST:,} values, and its aliases repeat them {values:,} times"
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Number of values in a node, with aliases written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in above:
        raise _problem(node, "a value is not part of itself, and an alias here makes it so")
    if id(node) not in known:
        inner = above | {id(node)}
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_values(part, known, inner) for part in parts)
    return known[id(node)]


def _problem(place: Any, says: str) -> yaml.YAMLError:
    mark = place.start_mark
    return yaml.YAMLError(f"{says}, in line {mark.line + 1}, column {mark.column + 1}")
