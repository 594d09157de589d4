"""The flows as Python functions. Each function starts a local Prefect server unless one is configured,
or a finished run is repeated.

If Prefect is already imported, its settings select the server; called inside a flow, these functions run as subflows.
All state is kept in the folder `ROYALTY_HOME`, `.royalty` by default. No signal handlers are installed. A server that
a function starts serves later calls too, and ends with the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.flows.configuration import as_credit_config, as_payout_config
from royalty.flows.repeating import repeated
from royalty.flows.starting import started
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult
    from royalty.flows.payout import PayoutResult
    from royalty.flows.revalue import Revaluation
    from royalty.infra.pages.trace import Trace
    from royalty.tasks.config.credit import CreditConfig
    from royalty.tasks.config.payout import PayoutConfig
    from royalty.tasks.pay.payment_files import ExportName


def run(
    config: CreditConfig | Mapping[str, Any] | str | Path,
    *,
    accept_uncertainty: bool = False,
    show_progress: bool = False,
) -> CreditResult:
    """Train, prune, measure coalitions, credit the contributors, propose a payout, write the report: `royalty run`.

    The credit is the Shapley value of each contributor in the game of the generator's property (sparsified fine-tuning
    paper, eq. 5). Finished work of this run or of another one is reused.

    Args:
        config: result of `load_config`; or the contents of a configuration file, as a mapping; or the path of a file.
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.
        show_progress: show progress bars in the terminal.

    Returns:
        The result of the run. `rows` are the rows of `payout.csv`, highest credit first: `credit`, `ci_low` and
        `ci_high` in units of the property, where higher is more valuable; `rank_best` and `rank_worst`, the
        ranks that the intervals leave; `share` of the pool, in [0, 1]; `amount`, a string in the currency of the pool.
        `folder` contains the report and the tables.

    Raises:
        ConfigError: the configuration has an unknown key, or a value out of range.
        InputError: images or settings are invalid.
        PayoutRefused: `payout.post` is set, and the credit does not pass the gates of the payout. Its attribute
            `result` is the result of the run, without amounts.
        ConfigConflict: the name belongs to a run with other settings.
        StoreError: `ROYALTY_HOME` cannot be written, or a server did not start.

    Examples:
        A misspelt setting is rejected before anything starts:

        >>> import royalty
        >>> royalty.run({"name": "mine", "coalitions": {"cuont": 40}})
        Traceback (most recent call last):
            ...
        royalty.flows.configuration.ConfigError: the mapping: unknown key `coalitions.cuont`; did you mean `count`?

        The preset with scikit-learn's digits takes about a minute:

        >>> result = royalty.run(royalty.load_config(preset="digits"))  # doctest: +SKIP
        >>> result.rows[0]["contributor"], result.rows[0]["amount"]  # doctest: +SKIP
        ('scanner-03', '94.04')
    """
    configuration = as_credit_config(config)
    if (finished := repeated(configuration, accept_uncertainty, show_progress=show_progress)) is not None:
        return finished
    with started(
        configuration.name,
        flow="royalty.flows.credit",
        works=[WORKER],
        show_progress=show_progress,
        configs=[configuration],
    ):
        from royalty.flows.credit import credit

        return credit(configuration, accept_uncertainty)


def revalue(
    config: CreditConfig | Mapping[str, Any] | str | Path,
    *,
    dry_run: bool = False,
    retrain_base: bool = False,
    accept_uncertainty: bool = False,
    show_progress: bool = False,
) -> Revaluation:
    """Credit what changed since the last credited run of the same name, and propose a payout: `royalty revalue`.

    Args:
        config: as for `run`; its name selects the run to compare with.
        dry_run: report what changed and the cost of revaluing it, without revaluing.
        retrain_base: retrain the models that coalitions start from, and therefore every coalition.
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.
        show_progress: show progress bars in the terminal.

    Returns:
        The changes; the contributors whose credit, rank or amount moved, each with whether that is certain; and the
        result of the run, or None if nothing was revalued.

    Raises:
        ConfigError, ConfigConflict, StoreError: as for `run`.
        InputError: no run of this name has credit; or `payout.post` is set, and the credit does not pass the gates.

    Examples:
        >>> import royalty
        >>> royalty.revalue("mine.yaml")
        Traceback (most recent call last):
            ...
        royalty.flows.configuration.ConfigError: cannot read the configuration mine.yaml in ...: No such file ...

        >>> revaluation = royalty.revalue(royalty.load_config(preset="digits"), dry_run=True)  # doctest: +SKIP
        >>> revaluation.change.found  # doctest: +SKIP
        False
    """
    configuration = as_credit_config(config)
    with started(
        configuration.name,
        flow="royalty.flows.revalue",
        works=[WORKER],
        show_progress=show_progress,
        configs=[configuration],
    ):
        from royalty.flows.revalue import revalue

        return revalue(configuration, retrain_base, dry_run, accept_uncertainty)


def payout(
    credit: str,
    config: PayoutConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    release: Sequence[str] = (),
    replace: bool = False,
    dry_run: bool = False,
    export: ExportName | None = None,
    accept_uncertainty: bool = False,
    show_progress: bool = False,
) -> PayoutResult:
    """Divide a pool by the credit of a run and post the division; or release held money: `royalty payout`.

    Repeating a call pays nothing more. Amounts are whole minor units and sum to the pool (largest remainder).

    Args:
        credit: name of a run, or the digest of its credit table.
        config: terms that replace those of the run: a `PayoutConfig`, a mapping, or the path of a YAML file.
        release: contributors whose held money is paid now.
        replace: take money back from contributors, and replace what the pool paid on another run's credit.
        dry_run: return the division without posting it.
        export: also write a SEPA payment file in this format, `pain001` or `pain001.03`.
        accept_uncertainty: pay although the standard error exceeds `limits.stderr`.
        show_progress: show progress bars in the terminal.

    Returns:
        What was paid, or would be paid without `dry_run`: `rows`, highest credit first, with `share` of the pool in
        [0, 1] and `amount` in its currency; and the ID of the ledger `statement`, or None if nothing was posted.

    Raises:
        ConfigError: the terms have an unknown key, or a value out of range.
        InputError: the credit is unknown, or does not pass the gates or the terms, or a payment file cannot be written;
            nothing is posted.
        LedgerConflict: the posting contradicts what the ledger holds.
        StoreError: as for `run`.

    Examples:
        >>> import royalty
        >>> royalty.payout("digits", {"pool": "-5.00"})
        Traceback (most recent call last):
            ...
        royalty.flows.configuration.ConfigError: the mapping: `pool`: input should be ... (got '-5.00')

        >>> paid = royalty.payout("digits", {"pool": "500.00", "period": "2026-05"})  # doctest: +SKIP
        >>> sum(float(row["amount"]) for row in paid.rows)  # doctest: +SKIP
        500.0
    """
    terms = None if config is None else as_payout_config(config)
    with started(
        credit, flow="royalty.flows.payout", works=(), show_progress=show_progress, configs=[terms] if terms else ()
    ):
        from royalty.flows.payout import payout

        return payout(
            credit,
            terms,
            release=release,
            replace=replace,
            dry_run=dry_run,
            export=export,
            accept_uncertainty=accept_uncertainty,
        )


def trace(asked: str, html: str | Path | None = None) -> Trace:
    """Follow the lineage of an ID, and verify the hash of every artifact in it: `royalty trace`. Starts no server.

    Args:
        asked: name of a run, or at least 8 digits of the ID of a payout statement, credit table, model, MLflow run or
            item.
        html: also write the trace to this file as an HTML page.

    Returns:
        The lineage from a payout to the images behind it; `matches` is True if everything is as it was recorded.

    Raises:
        InputError: the ID is unknown or ambiguous, or no run is recorded.

    Examples:
        >>> import royalty
        >>> lineage = royalty.trace("digits")  # doctest: +SKIP
        >>> lineage.matches  # doctest: +SKIP
        True
    """
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows.trace import trace

    return trace.fn(asked, None if html is None else Path(html))  # it records nothing, so that no server is needed
