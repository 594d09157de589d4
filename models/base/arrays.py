"""Convert array arguments to NumPy: lists, tuples, pandas objects, tensors, and anything NumPy can read.

Public functions convert their arguments here, once, and work on plain NumPy arrays afterwards. Arrays of the right type
are not copied, so that memory maps stay on disk. Functions check finiteness themselves, because they
read large arrays in parts.
"""

from __future__ import annotations

import operator
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.errors import InputError

if TYPE_CHECKING:
    import torch

NUMBERS = "biuf"
"""Kinds of NumPy types that are real numbers: bool, integers with and without sign, and floating point."""


def as_masks(argument: ArrayLike, name: str) -> np.ndarray:
    """Coalitions as bool, `(coalitions, contributors)`, from booleans or from 0 and 1.

    Raises:
        InputError: not two-dimensional, or values other than 0 and 1.
    """
    masks = _numbers(argument, name)
    if masks.ndim != 2:
        raise InputError(
            f"`{name}` has a row for each coalition and a column for each contributor; got shape {masks.shape}. Pass "
            "a single coalition as a list of one row"
        )
    if masks.dtype == bool:
        return masks
    invalid = np.argwhere((masks != 0) & (masks != 1))
    if len(invalid):
        row, column = invalid[0]
        raise InputError(
            f"`{name}` has 1 or True where a contributor is in a coalition, and 0 or False elsewhere; got "
            f"{masks[row, column]} in row {row}, column {column}. Pass masks, not utilities or weights"
        )
    present: np.ndarray = masks == 1
    return present


def as_vector(argument: ArrayLike, name: str) -> np.ndarray:
    """Numbers as float64, `(n,)`.

    Raises:
        InputError: not a sequence of numbers.
    """
    vector = _numbers(argument, name)
    if vector.ndim != 1:
        raise InputError(f"`{name}` is a sequence of numbers; got shape {vector.shape}. Pass one dimension")
    return vector.astype(np.float64, copy=False)


def as_features(argument: ArrayLike, name: str) -> np.ndarray:
    """Numbers in floating point, in native byte order.

    Floating-point numbers keep their precision. Integers of up to 16 bits become float32, which represents them
    exactly, and longer ones float64; so do floating-point numbers beyond float64, which torch does not have.
    `check_features` checks the number of dimensions.

    Raises:
        InputError: rows of unequal length, or values that are not numbers.
    """
    features = _numbers(argument, name)
    if features.ndim == 0:
        raise InputError(f"`{name}` has a row for each item; got the single number {features}. Give a matrix")
    kind = features.dtype if features.dtype.kind == "f" else np.result_type(features.dtype, np.float32)
    kind = np.dtype(np.float64) if kind.itemsize > 8 else kind
    return features.astype(kind.newbyteorder("="), copy=False)


@overload
def as_labels(argument: ArrayLike, name: str) -> np.ndarray: ...


@overload
def as_labels(argument: ArrayLike | None, name: str) -> np.ndarray | None: ...


def as_labels(argument: ArrayLike | None, name: str) -> np.ndarray | None:
    """Labels as numbers, `(items,)`; None stays None. `check_labels` checks that they are integers.

    Unsigned integers of 64 bits become signed ones, because beside signed labels NumPy makes both floating point.

    Raises:
        InputError: labels that are not numbers, or of 2^63 and above.
    """
    if argument is None:
        return None
    labels = _numbers(argument, name, remedy="Number them by `np.unique(labels, return_inverse=True)[1]`")
    if labels.dtype == np.uint64 and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise InputError(
            f"labels lie below 2^63; `{name}` has {labels.max()}. Number them by `np.unique(labels, "
            "return_inverse=True)[1]`"
        )
    kind = np.dtype(np.int64) if labels.dtype in (bool, np.uint64) else labels.dtype.newbyteorder("=")
    return labels.astype(kind, copy=False)


def as_device(argument: torch.device | str | None) -> torch.device | None:
    """A device of torch; None stays None.

    Raises:
        InputError: not the name of a device.
    """
    import torch  # takes seconds, and most callers have no device

    try:
        return None if argument is None else torch.device(argument)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f'`device` is a device of torch, such as "cpu" or "cuda"; got {_abbreviated(argument)}. Leave it out for '
            "the CPU"
        ) from error


def as_number(argument: SupportsFloat, name: str) -> float:
    """A number as float.

    Raises:
        InputError: not a number.
    """
    try:
        return float(argument)
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` is a number; got {_abbreviated(argument)}") from error


def as_whole(argument: SupportsIndex, name: str) -> int:
    """An integer of Python or NumPy as int.

    Raises:
        InputError: anything else, including 3.0.
    """
    try:
        return operator.index(argument)
    except TypeError as error:
        raise InputError(
            f"`{name}` is a whole number; got {_abbreviated(argument)}. Round it if it is meant to be one"
        ) from error


def as_seed(argument: SupportsIndex, name: str = "seed") -> int:
    """The seed of a random generator as int.

    Raises:
        InputError: not a whole number, or a negative one.
    """
    seed = as_whole(argument, name)
    if seed < 0:
        raise InputError(f"`{name}` is a whole number of at least 0; got {seed}. Pass 0 or more")
    return seed


def _numbers(argument: Any, name: str, *, remedy: str = "Pass numbers") -> np.ndarray:
    """A plain array of real numbers; a view if possible."""
    if np.ma.is_masked(argument):
        raise InputError(f"`{name}` has no missing values; got a masked array with masked values. Fill or drop them")
    array = _read(argument, name)
    if array.dtype == object:
        array = _from_objects(array, name, remedy)
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"`{name}` holds real numbers; got {array.dtype}. {remedy}")
    return array


def _read(argument: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(argument)
    except ValueError as error:
        raise InputError(
            f"`{name}` has rows of equal length; got a {type(argument).__name__} whose rows differ ({error}). Make "
            "their lengths equal"
        ) from error
    except (TypeError, RuntimeError) as error:  # of tensors that are on a GPU, or part of a graph
        raise InputError(
            f"`{name}` must be readable by NumPy; NumPy cannot read this {type(argument).__name__} ({error}). Convert "
            "it to a NumPy array"
        ) from error


def _from_objects(array: np.ndarray, name: str, remedy: str) -> np.ndarray:
    """Numbers from an array of Python objects, such as a pandas column or a list of decimals."""
    plain = _read(array.tolist(), name)  # bool, integers or floats if all objects are; also reads a column of vectors
    if plain.dtype != object:
        return plain
    for index, value in np.ndenumerate(plain):
        if not isinstance(value, Real | Decimal):
            where = f" at {', '.join(map(str, index))}" if index else ""
            raise InputError(f"`{name}` holds real numbers; got {_abbreviated(value)}{where}. {remedy}")
    return plain.astype(np.float64)


def _abbreviated(value: object) -> str:
    text = repr(value)
    return f"{text[:40]}..." if len(text) > 43 else text
