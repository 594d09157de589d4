"""Where a GPU would make the CPU wait, found without one: the net is on the `meta` device, the rest on the CPU."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from royalty.models.base.choices import SchedulerName
from royalty.models.generators.ddpm import DDPM, Architecture

READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::linalg_solve", "aten::equal"}
"""Calls whose result, or whose check of errors, the CPU waits for."""


class Waits(TorchDispatchMode):
    """Counts the calls for which the CPU would wait: reads of the device's tensors, and copies to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.copies = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._schema.name in READS and "meta" in given:
            self.reads += 1
        result = func(*args, **(kwargs or {}))
        made = [leaf.device.type for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if given == ["cpu"] and made == ["meta"]:
            self.copies += 1
        return result


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("classes", [0, 3])
def test_waits_of_sampling_do_not_grow_with_its_steps(
    scheduler: SchedulerName, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DDPM.build(Architecture(8, 1, (8, 8), 1, classes=classes, guidance=2.0), seed=0).to("meta")
    monkeypatch.setattr(model, "pictured", lambda samples: np.zeros(samples.shape))

    def waits(steps: int) -> tuple[int, int]:
        with Waits() as counted:
            model.sample(3, seed=0, steps=steps, scheduler=scheduler)
        return counted.reads, counted.copies

    assert waits(12) == waits(6)
    reads, copies = waits(6)
    assert reads == 0
    assert copies <= 4
