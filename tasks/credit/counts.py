"""Check settings against the contributors, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from royalty.models.base.choices import Sizes
from royalty.models.base.errors import NAMED, InputError
from royalty.models.judging.datamodeling import MIN_RANKED, held_out_size
from royalty.models.valuation.coalitions import check_count
from royalty.models.valuation.faithful import least_sets
from royalty.models.valuation.multifidelity import least_retrained
from royalty.tasks.config.credit import CreditConfig

ContributorCheck = Callable[[Sequence[str], CreditConfig], None]
"""Raises InputError, with the name of the setting, if a setting does not suit the contributors."""


def check_run(names: Sequence[str], config: CreditConfig) -> None:
    """Check the number of coalitions of a run, and of those that are retrained."""
    if config.coalitions.units == "images":
        if config.coalitions.count < (least := least_sets(len(names))):
            raise InputError(
                f"`coalitions.count`: {len(names)} contributors take at least {least} sets of images, got "
                f"{config.coalitions.count}; {4 * len(names)} is a good number to start with"
            )
    elif (groups := config.coalitions.groups) is not None:
        if groups >= len(names):
            raise InputError(
                f"`coalitions.groups`: groups are fewer than contributors, who are {len(names)}; got {groups}. "
                "Lower it, or leave it out"
            )
        _check("coalitions.count", groups, config.coalitions.count, config.coalitions.sizes, "groups")
    else:
        _check("coalitions.count", len(names), config.coalitions.count, config.coalitions.sizes)
    players = config.coalitions.players(len(names))
    if 0 < config.fidelity.retrain < (least := least_retrained(players)):
        of = "contributors" if config.coalitions.groups is None else "groups"
        raise InputError(
            f"`fidelity.retrain`: a correction of {players} {of} takes at least {least} retrained "
            f"coalitions, got {config.fidelity.retrain}; raise it, or set it to 0"
        )


def check_counterfactual(names: Sequence[str], config: CreditConfig) -> None:
    """Check a run of this configuration, and the number of coalitions of each credit that is judged."""
    check_run(names, config)
    if config.coalitions.units == "images":
        raise InputError(
            "`coalitions.units`: credit from coalitions of contributors is judged; got `images`. Evaluate with "
            "`contributors`"
        )
    _check_ungrouped(config, "is judged")
    check_one_pipeline(config, "what is judged is credit")
    for method, count in config.evaluation.shapley.items():
        _check(f"evaluation.shapley.{method}", len(names), count, config.coalitions.sizes)


def check_gallery(names: Sequence[str], config: CreditConfig) -> None:
    """Check a run of this configuration, whose credit orders the models that are shown."""
    check_run(names, config)
    _check_ungrouped(config, "orders the models of a gallery")
    check_one_pipeline(config, "a gallery shows models")


def check_lds(names: Sequence[str], config: CreditConfig) -> None:
    """Check the same, the sizes of the held-out coalitions, and the names of planted contributors."""
    check_counterfactual(names, config)
    for alpha in config.evaluation.alphas:
        try:
            held_out_size(len(names), alpha)
        except InputError as error:
            raise InputError(f"`evaluation.alphas`: {error}") from None
    if 0 < config.evaluation.again < MIN_RANKED:
        raise InputError(
            f"`evaluation.again`: a noise ceiling is a rank correlation of at least {MIN_RANKED} coalitions; got "
            f"{config.evaluation.again}. Set it to 0, or higher"
        )
    if unknown := sorted(set(config.evaluation.planted or ()) - set(names)):
        raise InputError(
            f"`evaluation.planted`: planted contributors are contributors of the images, and {', '.join(unknown)} "
            f"brought none. There are {', '.join(names[:NAMED])}{' and others' if len(names) > NAMED else ''}"
        )


def check_one_pipeline(config: CreditConfig, subject: str) -> None:
    """Check that there is one pipeline.

    Args:
        subject: what is of one pipeline, as the start of a sentence.
    """
    if config.coalitions.pipelines > 1:
        raise InputError(
            f"`coalitions.pipelines`: {subject} of one pipeline; got {config.coalitions.pipelines}. Set it to 1"
        )


def is_paired(contributors: int, count: int) -> bool:
    """Whether each coalition is drawn with its complement; see `sample_coalitions`."""
    return count >= 3 * contributors


def _check_ungrouped(config: CreditConfig, use: str) -> None:
    if config.coalitions.groups is not None:
        raise InputError(
            f"`coalitions.groups`: credit from coalitions of contributors {use}; got {config.coalitions.groups}. "
            "Evaluate without groups"
        )


def _check(setting: str, n_players: int, count: int, sizes: Sizes, players: str = "contributors") -> None:
    try:
        check_count(n_players, count, paired=is_paired(n_players, count), sizes=sizes, players=players)
    except InputError as error:
        raise InputError(f"`{setting}`: {error}") from None
