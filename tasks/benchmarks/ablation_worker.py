"""Worker code: look for a planted corruption with other values of a setting."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection
from royalty.tasks.benchmarks.detection_stages import AblateInputs, AblateOutputs
from royalty.tasks.benchmarks.detection_worker import prepared
from royalty.tasks.config.detection import DEPENDING
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.stage import TableRow


def ablate(inputs: AblateInputs, context: StageContext) -> AblateOutputs:
    """Value the items by each method with each value of each setting, and measure how well that finds the planted ones.

    Images are embedded again by another encoder; for another value of transport, they are not.
    """
    torch.set_num_threads(cores())
    began, drawn = time.perf_counter(), inputs.detect
    trial = prepared(drawn, context)
    context.advance(1)
    rows: list[TableRow] = []
    failed: dict[str, str] = {}
    for setting, value in inputs.ablation.variants:
        part = "encoding" if setting == "encoder" else "valuing"
        changed = getattr(drawn.config, part).model_copy(update={setting: value})
        config = drawn.config.model_copy(update={part: changed})
        try:
            varied = prepared(replace(drawn, config=config), context) if part == "encoding" else trial
        except InputError as error:  # the other settings are not lost
            failed[f"{setting} {value}"] = str(error)
            context.advance(1)
            continue
        settings = config.model_copy(update={"seed": drawn.seed})
        for method in [each for each in settings.methods if each in DEPENDING[setting]]:
            started = time.perf_counter()
            try:
                values = varied.values(settings, method)
            except InputError as error:  # the other methods are not lost
                failed[f"{method}, {setting} {value}"] = str(error)
                continue
            title: TableRow = {"corruption": drawn.corruption, "draw": drawn.draw, "method": method}
            title |= {"setting": setting, "value": str(value), "seconds": time.perf_counter() - started}
            rows.append(title | {"auroc": detection(values, varied.corrupted.planted).auroc})
        context.advance(1)
    return AblateOutputs(rows, failed, time.perf_counter() - began)
