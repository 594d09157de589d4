"""The flows in plain Python: each function starts what its flow needs, a local Prefect server unless one is set.

Where Prefect is imported already, its own settings say which server is used: in a flow of yours, these run as flows
within it. Everything is kept in the home that `ROYALTY_HOME` names, `.royalty` unless given. No signal handler is set.
A server that was started here serves later calls, too, and ends with the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.flows.configuration import as_credit_config, as_payout_config
from royalty.flows.starting import started
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult
    from royalty.flows.payout import PayoutResult
    from royalty.flows.revalue import Revaluation
    from royalty.infra.pages.trace import Trace
    from royalty.tasks.config.credit import CreditConfig
    from royalty.tasks.config.payout import PayoutConfig
    from royalty.tasks.pay.statements import ExportName


def run(config: CreditConfig | Mapping[str, Any] | str | Path, *, show_progress: bool = False) -> CreditResult:
    """Train, prune, measure coalitions; then credit, report and pay the contributors: `royalty run`.

    The credit is the Shapley value of each contributor in the game of the generator's property (sparsified fine-tuning
    paper, eq. 5). What is finished already, here or in another run, is reused.

    Args:
        config: of `load_config`; or what a configuration file holds, as a mapping; or the path of such a file.
        show_progress: draw bars in the terminal.

    Returns:
        What the run left. `rows` are those of `payout.csv`, highest credit first: `credit`, `ci_low` and `ci_high` in
        units of the property, where higher is more valuable; `share` of the pool, in [0, 1]; `amount`, a text in the
        currency of the pool. `folder` holds the report and the tables.

    Raises:
        ConfigError: the configuration has an unknown key, or a value out of range.
        InputError: images or settings break a rule; or credit does not pass the gates of the payout.
        ConfigConflict: the name stands for other settings.
        StoreError: the home cannot be written, or a server did not start.

    Examples:
        A misspelt setting is refused before anything starts:

        >>> import royalty
        >>> royalty.run({"name": "mine", "coalitions": {"cuont": 40}})
        Traceback (most recent call last):
            ...
        royalty.flows.configuration.ConfigError: the mapping: unknown key `coalitions.cuont`; did you mean `count`?

        The preset of embedded digits takes about a minute:

        >>> result = royalty.run(royalty.load_config(preset="digits"))  # doctest: +SKIP
        >>> result.rows[0]["contributor"], result.rows[0]["amount"]  # doctest: +SKIP
        ('scanner-03', '120.02')
    """
    configuration = as_credit_config(config)
    with started(configuration.name, flow="royalty.flows.credit", works=[WORKER], show_progress=show_progress):
        from royalty.flows.credit import credit

        return credit(configuration)


def revalue(
    config: CreditConfig | Mapping[str, Any] | str | Path,
    *,
    dry_run: bool = False,
    retrain_base: bool = False,
    show_progress: bool = False,
) -> Revaluation:
    """Credit what changed since the last credited run of a name, and pay the difference: `royalty revalue`.

    Args:
        config: as of `run`; its name is that of the run to compare with.
        dry_run: only say what changed, and what it would cost.
        retrain_base: train the models that coalitions start from anew, and so everything.
        show_progress: draw bars in the terminal.

    Returns:
        What changed; whose credit, place or amount moved; and the result of the run, None where nothing was revalued.

    Raises:
        ConfigError, ConfigConflict, StoreError: as of `run`.
        InputError: no run of this name came to credit; or credit does not pass the gates of the payout.

    Examples:
        >>> import royalty
        >>> royalty.revalue("mine.yaml")
        Traceback (most recent call last):
            ...
        royalty.flows.configuration.ConfigError: cannot read the configuration mine.yaml: No such file or directory

        >>> found = royalty.revalue(royalty.load_config(preset="digits"), dry_run=True)  # doctest: +SKIP
        >>> found.change.found  # doctest: +SKIP
        False
    """
    configuration = as_credit_config(config)
    with started(configuration.name, flow="royalty.flows.revalue", works=[WORKER], show_progress=show_progress):
        from royalty.flows.revalue import revalue

        return revalue(configuration, retrain_base, dry_run)


def payout(
    credit: str,
    config: PayoutConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    release: Sequence[str] = (),
    replace: bool = False,
    dry_run: bool = False,
    export: ExportName | None = None,
    show_progress: bool = False,
) -> PayoutResult:
    """Divide a pool by the credit of a run, and post it; or release what the pool holds: `royalty payout`.

    Doing it again pays nothing more. Amounts are whole minor units and sum to the pool (largest remainder).

    Args:
        credit: name of a run, or the digest of its credit table.
        config: terms, in place of those of the run: as `PayoutConfig`, a mapping, or the path of a YAML file.
        release: contributors whose held money is paid now.
        replace: what the pool paid by another run's credit is taken back.
        dry_run: show the division, and post nothing.
        export: a payment file to write besides, `pain001` or `pain001.03`.
        show_progress: draw bars in the terminal.

    Returns:
        What was paid, or by a dry run would be: `rows`, highest credit first, with `share` of the pool in [0, 1] and
        `amount` in its currency; and the `statement` of the ledger, None if nothing was posted.

    Raises:
        ConfigError: the terms have an unknown key, or a value out of range.
        InputError: there is no such credit here, or it does not pass the gates or the terms; nothing is posted.
        LedgerConflict: the ledger holds something else.
        StoreError: as of `run`.

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
    with started(credit, flow="royalty.flows.payout", works=(), show_progress=show_progress):
        from royalty.flows.payout import payout

        return payout(credit, terms, release=release, replace=replace, dry_run=dry_run, export=export)


def trace(asked: str, html: str | Path | None = None) -> Trace:
    """Walk the lineage of an id, and hash every artifact on the way again: `royalty trace`. It starts no server.

    Args:
        asked: a run name, or 8 or more digits of the id of a payout statement, credit table, model, MLflow run or item.
        html: a file that the trace is written to as well.

    Returns:
        The way from a payout to the images behind it; `matches` says whether everything is as it was recorded.

    Raises:
        InputError: the id is unknown or ambiguous; nothing was recorded here.

    Examples:
        >>> import royalty
        >>> found = royalty.trace("digits")  # doctest: +SKIP
        >>> found.matches  # doctest: +SKIP
        True
    """
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows.trace import trace

    return trace.fn(asked, None if html is None else Path(html))  # it records nothing, so that no server is needed
