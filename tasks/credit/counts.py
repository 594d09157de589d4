"""Check settings against the number of contributors, before anything is read or trained."""

from __future__ import annotations

from collections.abc import Callable

from royalty.models.base.errors import InputError
from royalty.models.judging.datamodeling import held_out_size
from royalty.models.valuation.coalitions import check_count
from royalty.tasks.config.credit import CreditConfig

CountCheck = Callable[[int, CreditConfig], None]
"""Raises InputError, with the name of the setting, if a setting does not suit the number of contributors."""


def check_run(contributors: int, config: CreditConfig) -> None:
    """Check the number of coalitions of a run."""
    _check("coalitions.count", contributors, config.coalitions.count)


def check_counterfactual(contributors: int, config: CreditConfig) -> None:
    """Check a run of this configuration, and the number of coalitions of each credit that is judged."""
    check_run(contributors, config)
    for method, count in config.evaluation.shapley.items():
        _check(f"evaluation.shapley.{method}", contributors, count)


def check_lds(contributors: int, config: CreditConfig) -> None:
    """Check the same, and the sizes of the held-out coalitions."""
    check_counterfactual(contributors, config)
    for alpha in config.evaluation.alphas:
        try:
            held_out_size(contributors, alpha)
        except InputError as error:
            raise InputError(f"`evaluation.alphas`: {error}") from None


def is_paired(contributors: int, count: int) -> bool:
    """Whether each coalition is drawn with its complement; see `sample_coalitions`."""
    return count >= 3 * contributors


def _check(setting: str, contributors: int, count: int) -> None:
    try:
        check_count(contributors, count, paired=is_paired(contributors, count))
    except InputError as error:
        raise InputError(f"`{setting}`: {error}") from None
