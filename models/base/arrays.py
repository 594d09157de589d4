"""What a caller gives as an array, converted by one rule: lists, tuples, pandas, tensors, whatever NumPy reads.

Public functions convert their arguments here, once, and work on plain NumPy arrays from there on. What has the right
type already is not copied, so that memory maps stay on disk. Whether numbers are finite is left to the function, which
looks at large arrays a part at a time.
"""

from __future__ import annotations

import operator
from decimal import Decimal
from numbers import Real
from typing import Any, SupportsFloat, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.errors import InputError

NUMBERS = "biuf"
"""Kinds of NumPy types that are real numbers: bool, integers with and without sign, and floating point."""


def as_masks(given: ArrayLike, name: str) -> np.ndarray:
    """Coalitions as bool, `(coalitions, contributors)`, from True and False or from 0 and 1.

    Raises:
        InputError: not a table, or another value than 0 or 1.
    """
    masks = _numbers(given, name)
    if masks.ndim != 2:
        raise InputError(
            f"`{name}` has a row for each coalition and a column for each contributor; got shape {masks.shape}. Give "
            "one coalition as a list of one row"
        )
    if masks.dtype == bool:
        return masks
    wrong = np.argwhere((masks != 0) & (masks != 1))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"`{name}` says by 0 or 1, or False or True, whether a contributor is in a coalition; got "
            f"{masks[row, column]} in row {row}, column {column}. Give masks, not utilities or weights"
        )
    present: np.ndarray = masks == 1
    return present


def as_vector(given: ArrayLike, name: str) -> np.ndarray:
    """Numbers as float64, `(n,)`.

    Raises:
        InputError: not a sequence of numbers.
    """
    vector = _numbers(given, name)
    if vector.ndim != 1:
        raise InputError(f"`{name}` is a sequence of numbers; got shape {vector.shape}. Give one dimension")
    return vector.astype(np.float64, copy=False)


def as_features(given: ArrayLike, name: str) -> np.ndarray:
    """Numbers in floating point, of the machine's byte order.

    Floating point keeps its precision. Integers of up to 16 bits become float32, which holds them exactly, and longer
    ones float64. That there are two dimensions is for `check_features` to say.

    Raises:
        InputError: rows of unequal length, or something else than numbers.
    """
    features = _numbers(given, name)
    kind = features.dtype if features.dtype.kind == "f" else np.result_type(features.dtype, np.float32)
    return features.astype(kind.newbyteorder("="), copy=False)


@overload
def as_labels(given: ArrayLike, name: str) -> np.ndarray: ...


@overload
def as_labels(given: ArrayLike | None, name: str) -> np.ndarray | None: ...


def as_labels(given: ArrayLike | None, name: str) -> np.ndarray | None:
    """Labels as numbers, `(items,)`; None stays None. That they are integers is for `check_labels` to say.

    Raises:
        InputError: labels that are no numbers.
    """
    if given is None:
        return None
    labels = _numbers(given, name, remedy="Number them by `np.unique(labels, return_inverse=True)[1]`")
    return (
        labels.astype(np.int64) if labels.dtype == bool else labels.astype(labels.dtype.newbyteorder("="), copy=False)
    )


def as_number(given: SupportsFloat, name: str) -> float:
    """One number.

    Raises:
        InputError: something else.
    """
    try:
        return float(given)
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` is a number; got {_shown(given)}") from error


def as_whole(given: SupportsIndex, name: str) -> int:
    """One whole number, of Python or NumPy.

    Raises:
        InputError: something else, 3.0 too.
    """
    try:
        return operator.index(given)
    except TypeError as error:
        raise InputError(
            f"`{name}` is a whole number; got {_shown(given)}. Round it if it is meant to be one"
        ) from error


def _numbers(given: Any, name: str, *, remedy: str = "Give numbers") -> np.ndarray:
    """A plain array of real numbers; a view where it can be one."""
    if np.ma.is_masked(given):
        raise InputError(f"`{name}` has a value everywhere; got a masked array with values left out. Fill or drop them")
    array = _read(given, name)
    if array.dtype == object:
        array = _from_objects(array, name, remedy)
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"`{name}` holds real numbers; got {array.dtype}. {remedy}")
    return array


def _read(given: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise InputError(
            f"`{name}` has rows of one length; got a {type(given).__name__} whose rows differ ({error}). Give all "
            "rows as many numbers"
        ) from error
    except (TypeError, RuntimeError) as error:  # of tensors that are on a GPU, or part of a graph
        raise InputError(
            f"`{name}` is read by NumPy, which cannot read this {type(given).__name__} ({error}). Convert it to "
            "a NumPy array"
        ) from error


def _from_objects(array: np.ndarray, name: str, remedy: str) -> np.ndarray:
    """Numbers from Python objects, as columns of pandas and lists of decimals hold them."""
    plain = _read(array.tolist(), name)  # bool, integers or floats if all objects are; a column of vectors, too
    if plain.dtype != object:
        return plain
    for place, value in np.ndenumerate(plain):
        if not isinstance(value, Real | Decimal):
            where = f" at {', '.join(map(str, place))}" if place else ""
            raise InputError(f"`{name}` holds real numbers; got {_shown(value)}{where}. {remedy}")
    return plain.astype(np.float64)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text[:40]}..." if len(text) > 43 else text
