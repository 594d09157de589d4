"""`import royalty`: what it gives, how soon, and that what its docstrings show is so."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import royalty

ROOT = Path(__file__).parent.parent
FUNCTIONS = [name for name in royalty.__all__ if inspect.isfunction(getattr(royalty, name))]


@pytest.mark.parametrize("name", royalty.__all__)
def test_examples_in_docstrings_are_so(name: str) -> None:
    public = getattr(royalty, name)
    if isinstance(public, str):
        return
    tests = [test for test in doctest.DocTestFinder(recurse=False).find(public, name) if test.examples]
    if name in FUNCTIONS:
        assert tests, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        output: list[str] = []
        assert not runner.run(test, out=output.append).failed, "".join(output)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_say_what_is_given_and_what_goes_wrong(name: str) -> None:
    text = inspect.getdoc(getattr(royalty, name)) or ""
    for section in ("Args:", "Returns:", "Raises:", "Examples:"):
        assert f"\n{section}\n" in text, f"{name}: {section}"


def test_importing_waits_for_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import royalty; dir(royalty); royalty.__all__\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before} & "
        "{'numpy', 'pandas', 'pydantic', 'prefect', 'torch', 'typer', 'yaml'}\n"
        "assert not loaded, loaded\n"
        "royalty.sample_coalitions\n"
        "assert not {'torch', 'prefect', 'pydantic'} & set(sys.modules)\n"
        "royalty.load_config\n"
        "assert not {'prefect', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_importing_takes_less_than_a_third_of_a_second() -> None:
    def microseconds() -> int:
        command = [sys.executable, "-X", "importtime", "-c", "import royalty"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
        (line,) = [line for line in told if line.endswith(" royalty")]
        return int(line.split("|")[1])

    assert min(microseconds() for _ in range(5)) < 300_000


def test_names_are_listed_before_they_are_used_and_no_other_is_there() -> None:
    assert set(royalty.__all__) <= set(dir(royalty))
    assert sorted(royalty.__all__) == royalty.__all__
    with pytest.raises(AttributeError, match="module 'royalty' has no attribute 'shapley'"):
        _ = royalty.shapley  # type: ignore[attr-defined]


def test_credit_takes_lists_integers_and_tables() -> None:
    masks = royalty.sample_coalitions(4, 12, seed=0)
    utilities = masks @ np.array([4.0, 3.0, 2.0, 1.0])
    expected = royalty.estimate_shapley(masks, utilities, 0, 10)
    for given in (
        (masks.tolist(), utilities.tolist()),
        (masks.astype(int), tuple(utilities)),
        (pd.DataFrame(masks.astype(int), columns=list("abcd")), pd.Series(utilities)),
    ):
        np.testing.assert_array_equal(royalty.estimate_shapley(*given, 0, 10).values, expected.values)


def test_values_take_lists_integers_and_tables() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.integers(0, 50, (30, 3)), rng.integers(0, 50, (20, 3))
    labels, val_labels = np.arange(30) % 2, np.arange(20) % 2
    arrays = train.astype(float), labels, val.astype(float), val_labels
    lists = train.tolist(), labels.tolist(), val.tolist(), val_labels.tolist()
    tables = pd.DataFrame(train), pd.Series(labels), pd.DataFrame(val), pd.Series(val_labels)
    for method in (royalty.lava_values, royalty.sava_values, royalty.knn_shapley_values):
        for given in (lists, tables):
            np.testing.assert_array_equal(method(*given).values, method(*arrays).values)
    expected = royalty.gmvaluator_values(arrays[0] + 1, arrays[2] + 1, k=5, quality=np.full(20, 0.5))
    for given in (lists, tables):
        moved = [np.add(side, 1) for side in (given[0], given[2])]
        matched = royalty.gmvaluator_values(*moved, k=5, quality=[0.5] * 20)
        np.testing.assert_array_equal(matched.values, expected.values)


def test_batches_of_lists_are_batches_and_rows_of_two_are_rows() -> None:
    rows = [[float(item), float(item % 3)] for item in range(12)]
    labels = [item % 2 for item in range(12)]
    batches = [(rows[:6], labels[:6]), (rows[6:], labels[6:])]
    val, val_labels = rows[::2] + rows[1::4], labels[::2] + labels[1::4]
    by_batch = royalty.sava_values(batches, None, val, val_labels)
    assert by_batch.diagnostics["batches"] == 2
    for given in (rows, tuple(map(tuple, rows))):
        assert royalty.sava_values(given, labels, val, val_labels).diagnostics["batches"] == 1
    with pytest.raises(royalty.InputError, match=r"a batch is a pair, \(features, labels\); got a list"):
        royalty.sava_values(iter_again([rows]), None, val, val_labels)


class iter_again:
    def __init__(self, batches: list) -> None:
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: royalty.estimate_shapley([[0, 2], [1, 0]], [0, 1], 0, 1),
            "`masks` has 1 or True .*got 2 in row 0",
        ),
        (lambda: royalty.estimate_shapley([[0, 1], [1]], [0, 1], 0, 1), "`masks` has rows of equal length"),
        (lambda: royalty.estimate_shapley([[0, 1], [1, 0]], [0, "x"], 0, 1), "`utilities` holds real numbers"),
        (lambda: royalty.estimate_shapley([[0, 1], [1, 0]], [0, 1], "none", 1), "`null_utility` is a number"),
        (lambda: royalty.sample_coalitions(4.5, 12, seed=0), "`n_players` is a whole number; got 4.5"),
        (lambda: royalty.lava_values([["a"]], None, [[0.0]], None), "`train_features` holds real numbers"),
        (lambda: royalty.knn_shapley_values([[0.0]], ["cat"], [[0.0]], [0]), "`train_labels` holds real numbers"),
        (lambda: royalty.sava_values([[0.0], [1.0, 2.0]], None, [[0.0]], None), "`train_features` has rows of equal"),
        (lambda: royalty.gmvaluator_values([[1.0]], [[1.0]], quality=["good"]), "`quality` holds real numbers"),
        (lambda: royalty.divide_pool(10.5, {"Ada": (1, 0, 2)}), "`pool` is a whole number; got 10.5"),
        (
            lambda: royalty.divide_pool(10, {"Ada": 1.0}),
            r"each credit is three numbers, \(value, low, high\); 'Ada' has 1.0",
        ),
        (lambda: royalty.divide_pool(10, {"Ada": (1, 0, "x")}), r"`credits\['Ada'\]` is a number; got 'x'"),
    ],
)
def test_what_is_no_array_is_refused_by_the_name_of_the_argument(call, message: str) -> None:
    with pytest.raises(royalty.InputError, match=message):
        call()


MASKS = royalty.sample_coalitions(4, 10, seed=0)
FEATURES, LABELS = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
VALUED = FEATURES, LABELS, FEATURES[:6], LABELS[:6]
CREDITS = {"ann": (2.0, 1.0, 3.0), "bob": (1.0, 0.5, 2.0)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: royalty.sample_coalitions(4, 10, seed=-1), "`seed` is a whole number of at least 0; got -1"),
        (lambda: royalty.sample_coalitions(4, 10, seed=0.5), "`seed` is a whole number; got 0.5"),
        (lambda: royalty.estimate_shapley(MASKS, MASKS.sum(axis=1), 0, 4, seed="a"), "`seed` is a whole number"),
        (lambda: royalty.exact_shapley([0.0, 1.0], 1), "`utility` is a function of coalitions; got a list"),
        (
            lambda: royalty.lava_values(3, None, FEATURES, None),
            "`train_features` has a row for each item; got the",
        ),
        (
            lambda: royalty.sava_values(3, None, FEATURES, None),
            "`train_features` has a row for each item; got the",
        ),
        (lambda: royalty.sava_values(None, None, FEATURES, None), "`train_features` holds real numbers; got None"),
        (lambda: royalty.lava_values(*VALUED, epsilon="x"), "`epsilon` is a number; got 'x'"),
        (lambda: royalty.sava_values(*VALUED, seed=-1), "`seed` is a whole number of at least 0"),
        (lambda: royalty.gmvaluator_values(FEATURES, FEATURES, temperature="x"), "`temperature` is a number; got 'x'"),
        (lambda: royalty.divide_pool(100, [1, 2]), "`credits` has a name for each contributor; got a list"),
        (lambda: royalty.divide_pool(100, CREDITS, {"floor": 0.1}), r"`terms` is a `Terms`; got a dict.*Give `royalty"),
        (lambda: royalty.divide_pool(100, CREDITS, royalty.Terms(policy="x")), "no policy is called 'x'"),
        (lambda: royalty.divide_pool(100, CREDITS, royalty.Terms(negative="x")), "no treatment of negative credit"),
        (lambda: royalty.divide_pool(100, CREDITS, royalty.Terms(floor="0.1")), "`floor` is a share of the pool"),
    ],
)
def test_arguments_of_another_kind_are_input_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(royalty.InputError, match=message):
        call()


def test_tensors_and_names_of_devices_are_taken() -> None:
    import torch

    tensors = [torch.tensor(array) for array in VALUED]
    for method in (royalty.lava_values, royalty.sava_values):
        np.testing.assert_allclose(method(*tensors, device="cpu").values, method(*VALUED).values)
    utilities = MASKS.sum(axis=1)
    of_tensors = royalty.estimate_shapley(torch.tensor(MASKS), torch.tensor(utilities), 0, 4)
    np.testing.assert_allclose(of_tensors.values, royalty.estimate_shapley(MASKS, utilities, 0, 4).values)
