"""Compare the values of pairs of items by the corrected form of LAVA's Theorem 2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.models.base.errors import InputError
from royalty.models.base.reading import check_table
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.pair_stages import COMPARE_PAIRS, PairsCompared, PairsInputs
from royalty.tasks.items.stages import Sides
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import pairs_worker
else:
    pairs_worker = Deferred("royalty.tasks.items.pairs_worker")


def read_pairs(config: ValueConfig, file: Path | None) -> list[list[str]]:
    """Read pairs of items from a CSV file with the columns `first` and `second`; none without a file.

    Raises:
        InputError: another method than LAVA, a file that cannot be read, or one without pairs.
    """
    if file is None:
        return []
    if config.method != "lava":
        raise InputError(f"`--pairs` compares values by `lava`; {config.method} has no such comparison. Leave it out")
    try:
        check_table(file)
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"`--pairs` is a CSV file with the columns `first` and `second`; {file}: {error}") from None
    if not {"first", "second"} <= set(table) or table.empty:
        raise InputError(
            f"`--pairs` is a CSV file with the columns `first` and `second` and a row for each pair; {file} has the "
            f"columns {', '.join(map(str, table))} and {len(table)} rows. Add what is missing"
        )
    pairs: list[list[str]] = table[["first", "second"]].to_numpy().tolist()
    return pairs


@task(name="compare pairs of items", cache_policy=NO_CACHE)
def compare_pairs(config: ValueConfig, sides: Sides, pairs: list[list[str]]) -> PairsCompared:
    """Compute the differences of the values of pairs of items."""
    inputs = PairsInputs(config.settings.model_dump(mode="json"), sides, pairs)
    return run_in_worker(COMPARE_PAIRS, inputs, pairs_worker.compare, title="Compare pairs", total=1)
