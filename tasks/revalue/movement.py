"""Who moved between two divisions of a pool, and whose movement is certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from royalty.infra.pages.summary import Moved, Standing
from royalty.models.valuation.intervals import told_apart
from royalty.tasks.pay.credits import ranked


def standings(rows: Sequence[Mapping[str, Any]]) -> dict[str, Standing]:
    """Standings by contributor, from the rows of a payout table, of this version or an earlier one."""
    if not rows:
        return {}
    return {
        row["contributor"]: Standing(
            row["rank_best"], row["rank_worst"], row["credit"], row["ci_low"], row["ci_high"], row["amount"]
        )
        for row in ranked(pd.DataFrame(list(rows)).astype({"amount": object})).to_dict("records")
    }


def moved_between(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Moved]:
    """Contributors whose standing changed, in the order of credit; removed contributors come last."""
    before, after = standings(then), standings(now)
    names = [*after, *(name for name in before if name not in after)]
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return [Moved(name, old, new, certain=_certain(old, new)) for name, old, new in pairs if old != new]


def _certain(then: Standing | None, now: Standing | None) -> bool:
    """Whether the intervals do not overlap; who came or went has certainly moved."""
    return then is None or now is None or told_apart((then.ci_low, then.ci_high), (now.ci_low, now.ci_high))
