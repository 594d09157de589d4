"""The examples run to their end without a screen, in well under a minute, and show what they say they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT


def output_of(example: str) -> str:
    """What an example prints."""
    script = ROOT / "examples" / f"{example}.py"
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    tested = {"credit_your_own_utility", "value_noisy_images", "who_substitutes_whom"}
    assert {file.stem for file in (ROOT / "examples").glob("*.py")} == tested


@pytest.mark.slow
def test_noisy_images_are_worth_less() -> None:
    said = output_of("value_noisy_images")
    found = re.search(r"in ([\d.]+)% of pairs", said)
    assert found
    assert float(found[1]) > 80  # by chance: 50


@pytest.mark.slow
def test_random_labels_earn_less_than_right_ones() -> None:
    said = output_of("credit_your_own_utility")
    credits = {int(who): float(credit) for who, credit in re.findall(r"contributor (\d): ([+-][\d.]+)", said)}
    assert len(credits) == 10
    assert min(credits, key=lambda who: credits[who]) == 9
    assert credits[8] > credits[0]


@pytest.mark.slow
def test_contributors_of_the_same_classes_substitute_each_other() -> None:
    output = output_of("who_substitutes_whom")
    pairs = set(re.findall(r"contributors (\d) and (\d) substitute", output))
    assert {("0", "1"), ("2", "3"), ("4", "9"), ("8", "9")} <= pairs
    assert ("5", "6") not in pairs
    errors = re.search(r"predictions: ([\d.]+); of the sum of credit: ([\d.]+)", output)
    assert errors
    assert float(errors[1]) < 0.2 * float(errors[2])
