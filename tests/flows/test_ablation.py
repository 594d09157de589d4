"""Settings that are varied one at a time while planted items are looked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from royalty.infra.pages.plots import auroc_by_value
from royalty.tasks.benchmarks import ablation_worker, detection_worker
from royalty.tasks.benchmarks.ablation import ablation_summary_of
from royalty.tasks.benchmarks.detection_stages import AblateInputs, CleanSides, DetectInputs
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.stages.context import open_stores, stage_context
from tests.flows.test_validation_sets import side


@pytest.mark.slow
def test_a_method_is_valued_as_if_it_were_configured_so_and_only_where_it_depends_on_the_setting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("ablation")
    context = stage_context(open_stores(folder / "home", "", folder / "weights", 1), "key", lambda _: None)
    sides = CleanSides(*(side(context, seed) for seed in (0, 1)))

    def config(**changed: object) -> DetectionConfig:
        return DetectionConfig(
            encoding={"encoder": "pixels", "size": 8}, methods=("lava", "sava", "confidence"), removed=(), **changed
        )

    varied = config(ablation={"label_weight": [0.5, 3], "batch_size": [16], "encoder": ["pixels"]})
    assert varied.ablation is not None
    drawn = DetectInputs("flipped-labels", varied.settings, sides, 1)
    found = ablation_worker.ablate(AblateInputs(drawn, varied.ablation), context)
    assert found.failed == {}
    rates = {(row["setting"], row["value"], row["method"]): row["auroc"] for row in found.rows}
    assert {place for place in rates if place[0] != "encoder"} == {
        *(("label_weight", value, method) for value in ("0.5", "3.0") for method in ("lava", "sava")),
        ("batch_size", "16", "sava"),
    }
    for valuing in ({"label_weight": 0.5}, {"label_weight": 3}, {"batch_size": 16}, {}):
        alone = DetectInputs("flipped-labels", config(valuing=valuing).settings, sides, 1)
        for row in detection_worker.detect(alone, context).rows:
            setting, value = next(iter(valuing.items()), ("encoder", "pixels"))
            place = setting, str(float(value) if setting == "label_weight" else value), row["method"]
            if place in rates:
                assert rates[place] == row["auroc"]
    assert rates["label_weight", "0.5", "lava"] != rates["label_weight", "3.0", "lava"]
    assert ("encoder", "pixels", "confidence") in rates
    summary = {(row["corruption"], row["setting"], row["method"]) for row in ablation_summary_of(found.rows)}
    assert ("all", "batch_size", "sava") in summary


def test_nothing_to_vary_and_settings_of_no_method_are_refused() -> None:
    with pytest.raises(ValidationError, match="an ablation varies a setting, and has no values of any"):
        DetectionConfig(ablation={})
    with pytest.raises(ValidationError, match=r"`ablation.batch_size` changes the values of sava, batchwise-lava"):
        DetectionConfig(methods=("lava",), ablation={"batch_size": [8]})
    with pytest.raises(ValidationError, match=r"ablation\.epsilon"):
        DetectionConfig(ablation={"epsilon": [0]})


def test_values_of_a_setting_are_drawn_in_their_order() -> None:
    few, many = (
        auroc_by_value("name: epsilon", "epsilon", {"lava": [(str(value), 0.5) for value in range(count)]})
        for count in (2, 9)
    )
    widths = [Image.open(io.BytesIO(picture)).width for picture in (few, many)]
    assert widths[0] < widths[1]
    assert np.asarray(Image.open(io.BytesIO(few)).convert("L")).std() > 0
