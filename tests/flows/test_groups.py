"""Coalitions of groups of contributors, whose credit is divided among their members."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd
import pytest

from royalty.flows.configuration import ConfigError, as_credit_config
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.shapley import estimate_shapley
from royalty.tasks.config.credit import CoalitionConfig, CreditConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.coalitions import draw_coalitions, plan_coalitions
from royalty.tasks.credit.counts import check_counterfactual, check_gallery, check_run
from royalty.tasks.credit.estimate import estimate_credit, load_table
from royalty.tasks.credit.grouping import MemberParts, group_contributors
from royalty.tasks.credit.ingest import ingest
from tests.conftest import FOLDER, Run, save_digits
from tests.flows.test_evaluate import keep
from tests.flows.test_units import judge

SOURCE = DigitsSource(contributors=7)
CONFIG = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=4, groups=3))


def test_members_of_a_group_are_in_the_same_coalitions_and_share_its_credit(new_home: None) -> None:
    data = ingest.fn(SOURCE, 0)
    grouped = group_contributors.fn(data, CONFIG)
    assert grouped is not None
    names, owner = data.outputs.players, grouped.outputs.groups
    sets = draw_coalitions.fn(data, CONFIG.coalitions, 0, grouped)
    assert sets[:2] == [tuple(names), ()]
    assert len({*sets}) == 2 + 4, "one set of members for each coalition of groups"
    for members in sets:
        within = {owner[name] for name in members}
        assert members == tuple(name for name in names if owner[name] in within)
    plans = plan_coalitions.fn(sets, data, "start", judge(), CONFIG, "sparsified", [0])
    space, worth = open_workspace(settings()), np.array([5.0, 3.0, 1.0])

    def utility(groups: list[int]) -> float:
        return float(worth[groups].sum()) + (2.0 if {0, 1} <= {*groups} else 0.0)

    for plan in plans:
        keep(space.runs, plan, utility(sorted({owner[name] for name in plan.members})))
    parts = {name: 1.0 + place for place, name in enumerate(names)}
    divided = MemberParts(grouped, "matched", parts, dict.fromkeys(names, 0.5))
    credit = estimate_credit.fn(data, plans, CONFIG, divided=divided)
    assert (credit.inputs.groups, credit.inputs.match) == (grouped.key, "matched")
    assert credit.outputs.interactions is not None
    assert "groups" in credit.outputs.interactions.omitted
    table = load_table(space, credit.outputs.table).set_index("contributor")
    assert table["group"].to_dict() == owner
    masks = np.array([[group in {owner[name] for name in members} for group in range(3)] for members in sets[2:]])
    utilities = np.array([utility(np.flatnonzero(mask).tolist()) for mask in masks])
    of_groups = estimate_shapley(masks, utilities, 0.0, utility([0, 1, 2])).values
    assert table.groupby("group")["credit"].sum().to_numpy() == pytest.approx(of_groups)
    for name in names:
        share = parts[name] / sum(part for other, part in parts.items() if owner[other] == owner[name])
        assert table.loc[name, "credit"] == pytest.approx(of_groups[owner[name]] * share)
    assert (table["stderr"] > 0.01 * table["credit"].abs()).all(), "utilities have no noise, and parts have"


def test_groups_of_the_last_run_are_kept(new_home: None) -> None:
    data = ingest.fn(DigitsSource(contributors=6), 0)
    last = group_contributors.fn(data, CONFIG)
    assert last is not None
    assert group_contributors.fn(data, CONFIG, last) is last
    more = group_contributors.fn(ingest.fn(SOURCE, 0), CONFIG, last)
    assert more is not None
    assert more.outputs.groups.items() > last.outputs.groups.items()
    assert more.inputs.kept == last.outputs.groups
    fewer = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(groups=2))
    anew = group_contributors.fn(data, fewer, last)
    assert anew is not None
    assert anew.inputs.kept == {}
    assert group_contributors.fn(data, CreditConfig(data=SOURCE)) is None


@pytest.mark.parametrize(
    ("settings_of", "refused"),
    [
        ({"coalitions": {"groups": 3, "units": "images"}}, "coalitions.units: images"),
        ({"coalitions": {"groups": 3, "method": "pooled"}}, "coalitions.method: pooled"),
        ({"coalitions": {"groups": 3}, "credit": {"value": "banzhaf"}}, "credit.value: banzhaf"),
        ({"coalitions": {"groups": 3}, "credit": {"value": "beta"}}, "credit.value: beta"),
        ({"coalitions": {"groups": 3}, "image_credit": {"references": 16}}, "image_credit.references: 16"),
    ],
)
def test_settings_of_contributors_are_refused(settings_of: dict[str, Any], refused: str) -> None:
    with pytest.raises(ConfigError, match=rf"`coalitions\.groups` does not go with `{refused}`.*[Ll]eave"):
        as_credit_config({"name": "refused", **settings_of})


def test_numbers_are_checked_against_groups() -> None:
    names = list("abcdefg")
    check_run(names, CONFIG)
    with pytest.raises(InputError, match=r"`coalitions\.groups`: groups are fewer than contributors, who are 3; got 3"):
        check_run(names[:3], CONFIG)
    with pytest.raises(InputError, match=r"`coalitions\.count`: 4 groups take at least 6 coalitions, got 4"):
        check_run(names, CreditConfig(coalitions=CoalitionConfig(count=4, groups=4)))
    with pytest.raises(InputError, match=r"`fidelity\.retrain`: a correction of 3 groups takes at least"):
        check_run(names, CreditConfig.model_validate({"coalitions": {"groups": 3}, "fidelity": {"retrain": 2}}))
    with pytest.raises(InputError, match=r"`coalitions\.groups`.*Evaluate without groups"):
        check_counterfactual(names, CONFIG)
    with pytest.raises(InputError, match=r"`coalitions\.groups`.*Evaluate without groups"):
        check_gallery(names, CONFIG)
    check_gallery(names, CreditConfig())


@pytest.mark.slow
def test_a_run_credits_and_pays_by_group_and_a_revaluation_keeps_the_groups(royalty: Run, tmp_path: Path) -> None:
    people = ["ann", "bob", "cy", "dee", "eve", "fay"]
    save_digits(tmp_path / "images", people * 12)
    config = FOLDER.replace("count: 12", "count: 6, groups: 3").replace("post: true", "post: true, take_back: true")
    (tmp_path / "groups.yaml").write_text(config)
    done = royalty("run", "--config", "groups.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 2 + 6
    assert {row["contributor"] for row in result["rows"]} == {*people}
    assert sum(float(row["amount"]) for row in result["rows"]) == pytest.approx(1000)
    table = pd.read_parquet(Path(result["folder"]) / "credit.parquet").set_index("contributor")
    assert table["group"].nunique() == 3
    page = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "Intervals include the sampling of these images" in page
    assert "credit under two names was computed for nobody" in page
    again = json.loads(royalty("run", "--config", "groups.yaml", "--json").stdout)
    assert (again["measured"], again["table"]) == (0, result["table"])

    rmtree(tmp_path / "images")
    save_digits(tmp_path / "images", [*people * 12, *["gil"] * 12])
    revalued = royalty("revalue", "--config", "groups.yaml", "--json")
    assert revalued.returncode == 10, revalued.stderr
    after = json.loads(revalued.stdout)
    later = pd.read_parquet(Path(after["folder"]) / "credit.parquet").set_index("contributor")
    assert later["group"].drop("gil").to_dict() == table["group"].to_dict()
    assert 0 < after["reused"] < 8, "coalitions without the group of gil are as they were"
