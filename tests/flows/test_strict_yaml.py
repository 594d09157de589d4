"""What a configuration's text may hold: each key once, numbers as they look, and an end."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from royalty.flows.configuration import ConfigError, load_config
from royalty.flows.strict_yaml import read_yaml
from tests.conftest import FOLDER

SEEN = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | SEEN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SEEN, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert read_yaml(json.dumps(value, ensure_ascii=False)) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1:30", "1:30"),
        ("no", "no"),
        ("On", "On"),
        ("'010'", "010"),
        ('"1_000"', "1_000"),
        ("10", 10),
        ("-0", 0),
        ("+5", 5),
        ("0.50", 0.5),
        ("1e-3", 1e-3),
        ("-.5", -0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ("2026-05", "2026-05"),
        ("2026-05-01", "2026-05-01"),
        ("_1", "_1"),
        ("1,000", "1,000"),
    ],
)
def test_numbers_and_truth_values_are_what_they_look_like(written: str, value: object) -> None:
    assert read_yaml(f"key: {written}") == {"key": value}


@pytest.mark.parametrize(
    "written", ["010", "-010", "00", "0x1F", "0o17", "0b11", "1_000", "+1_0.5", "1_000e3", "2026_05"]
)
def test_a_number_that_versions_of_yaml_read_differently_is_refused(written: str) -> None:
    for value, column in (
        (written, 8),
        (f"[1, {written}]", 12),
    ):
        with pytest.raises(
            yaml.YAMLError, match=rf"`steps` has `{re.escape(written)}`, .* quotes, in line 2, column {column}"
        ):
            read_yaml(f"name: a\nsteps: {value}")
    with pytest.raises(yaml.YAMLError, match=rf"the key `{re.escape(written)}`, .* quotes, in line 2, column 3"):
        read_yaml(f"outer:\n  {written}: 1")
    with pytest.raises(yaml.YAMLError, match=rf"a list has `{re.escape(written)}`, .* quotes, in line 1, column 6"):
        read_yaml(f"a: [[{written}]]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\npool: 1\nname: b", "`name` is there again, in line 3"),
        ("outer:\n  a: 1\n  a: 1", "`a` is there again, in line 3"),
        ("null: 1", "`null` is nothing in YAML; put it in quotes"),
        ("[" * 5000, "at most 32 levels"),
        ("a: " + "9" * 101, "at most 100 digits, and this has 101"),
        ("a: &a [*a]", "not part of itself"),
        ("a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)), "aliases"),
        ("# " + "x" * 1_000_000, "at most 1,000,000 characters"),
        ("a: !!python/object/apply:os.system [true]", "python/object"),
        ("a: !!int 0x10", "has no tags, and this has tag:yaml.org,2002:int; remove it"),
        ("a: !!bool maybe", "has no tags"),
    ],
)
def test_what_repeats_hides_or_never_ends_is_refused(text: str, says: str) -> None:
    with pytest.raises(yaml.YAMLError, match=says):
        read_yaml(text)


def test_a_configuration_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="is no file"):
        load_config(file=tmp_path / "pipe.yaml", preset=None, name=None)
    (tmp_path / "twice.yaml").write_text(FOLDER + "payout: {post: false}\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml cannot be read: .*`payout` is there again"):
        load_config(file=tmp_path / "twice.yaml", preset=None, name=None)
