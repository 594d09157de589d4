"""What a revaluation is expected to take: all of it, by the clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.tasks.revalue.change import LastRun, expected_seconds
from tests.tracing import made_up


def test_the_expected_time_is_that_of_the_coalitions_and_of_all_that_follows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = made_up(tmp_path)
    monkeypatch.setattr("royalty.tasks.revalue.change.settings", lambda: Settings(home=tmp_path, workers=2))
    measurements = [measure.key for plan in home.plans for measure in plan.measures]
    last = LastRun("may", home.stages, measurements, "now", "c0ffee")
    known = home.plans[0]
    new = replace(known, key="a" * 64, measures=tuple(replace(each, key="b" * 64) for each in known.measures))
    # A second each of training, sampling and measuring by two workers; then crediting, dividing, matching and logging.
    assert expected_seconds(home.space, last, [known, new], reuse=True) == 3 / 2 + 4
    assert expected_seconds(home.space, last, [known, new], reuse=False) == 6 / 2 + 4
    assert expected_seconds(home.space, last, [], reuse=True) == 0
    assert expected_seconds(home.space, replace(last, measurements=[]), [new], reuse=True) is None
