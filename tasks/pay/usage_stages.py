"""Inputs and outputs of the stages that divide a pool by use."""

from __future__ import annotations

from dataclasses import dataclass, field

from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class UsageInputs:
    """The use of a model in a period.

    Attributes:
        source: digest of a file, or of the rows of the log.
        index: index that attributed the images of a file; "" if the source says who stands behind them.
    """

    source: str
    model: str
    period: str
    index: str = ""


@dataclass(frozen=True)
class UsageOutputs:
    """The generations of a period, and who stands behind them.

    Attributes:
        usage: digest of the table (Parquet): a row for each generation, with `id`, `at`, `weight`, the contributors and
            their shares, and the training images behind it.
        generations, attributed: number of all, and of those with a training image that is near enough.
        revenue: sum of what they earned, or their number if nothing is said of it.
        log_position, log_hash: the last of these rows of the log. The hash is over all rows up to it, so that the
            statement that pays by them shows whether the log was rewritten or cut since; 0 and "" for a file.
    """

    usage: str
    generations: int
    attributed: int
    revenue: str
    log_position: int = 0
    log_hash: str = ""


Usage = Finished[UsageInputs, UsageOutputs]
USAGE = Stage("usage", UsageInputs, UsageOutputs)


@dataclass(frozen=True)
class UseInputs:
    """A table of use, a credit table, and the terms that make one table of both.

    Attributes:
        usage: digest of the generations.
        credit: digest of the credit table; "" without credit.
        training, unattributable, policy: see `royalty.tasks.config.payout.UseConfig`.
        failed, trained, efficiency_gap, marginal_error: of the credit, for the gates.
    """

    usage: str
    credit: str
    training: str
    unattributable: str
    policy: str
    failed: int = 0
    trained: int = 1
    efficiency_gap: float = 0.0
    marginal_error: float = 0.0


@dataclass(frozen=True)
class GenerationBehind:
    """A generation that a contributor is paid for.

    Attributes:
        id: of the generation, as its caller named it.
        part: of the whole pool, that it brings the contributor.
        items: ids of the training images behind it, of this contributor, highest share first.
    """

    id: str
    part: float
    items: list[str]


@dataclass(frozen=True)
class UseOutputs:
    """What a pool is divided by: a table like that of credit.

    Attributes:
        table: digest of the table (Parquet): by contributor `credit`, the fraction of the pool, with `ci_low`,
            `ci_high` and `stderr`, which are those of the training part; `training` and `use`, its parts; and
            `generations`, their number.
        kept: fraction of the pool that nobody gets, as a fraction `a/b`.
        unattributed: fraction of the revenue that is attributed to nobody.
        behind: for each contributor, the generations that bring most.
        failed, trained, diagnostics: of the credit, for the gates.
    """

    table: str
    kept: str
    unattributed: float
    behind: dict[str, list[GenerationBehind]]
    failed: int = 0
    trained: int = 1
    diagnostics: dict[str, float] = field(default_factory=dict)


Used = Finished[UseInputs, UseOutputs]
USE = Stage("use", UseInputs, UseOutputs)
