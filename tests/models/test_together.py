"""Processes that train one model together: what they learn is what one learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from royalty.infra.processes.workers import ProcessFailed, run_in_process
from royalty.infra.stores.checkpoints import Checkpoint
from royalty.models.base.errors import InputError
from royalty.models.base.serialization import unpack
from royalty.models.data.items import Shown
from royalty.models.generators.generator import Resources
from royalty.models.generators.memory import Parts
from royalty.models.generators.registry import build_generator
from royalty.models.generators.small_pipeline import save_small_pipeline
from royalty.models.generators.together import check_gpus, is_first, share_of, together

STEPS = 6
TRAINING: dict[str, Any] = {"batch_size": 10, "learning_rate": 2e-3, "ema_decay": 0.9, "seed": 5}
RANDOM = np.random.default_rng(0)
SHOWN = Shown(
    RANDOM.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8),
    labels=RANDOM.integers(0, 2, 12),
    texts=["a one", "a two"] * 6,
)
KINDS: dict[str, dict[str, Any]] = {
    "ddpm": {
        "block_channels": (8, 16),
        "layers_per_block": 1,
        "conditional": True,
        "flip": True,
        "gradient_accumulation": 2,
    },
    "lora": {
        "base": "small",
        "prompt": None,
        "rank": 4,
        "targets": ["to_q", "to_v"],
        "guidance": 1.0,
        "weight_decay": 1e-6,
        "warmup_steps": 0,
        "mixed_precision": False,
        "gradient_checkpointing": False,
    },
}


def train(
    kind: str, folder: Path, processes: int, steps: int, failing: int | None, advance: Any
) -> tuple[list[float], bytes]:
    """The losses, and the model; each of several processes also leaves its own in the folder.

    Args:
        failing: a step after which the training is cut off, its state kept.
    """
    with together(processes):
        model = build_generator(kind, SHOWN, KINDS[kind], seed=1, resources=Resources(weights=lambda _: folder))
        keeper = Checkpoint(folder / "kept", every=0 if is_first() else float("inf"))
        done = 0

        def count(step: int) -> None:
            nonlocal done
            done += step
            advance(step)
            if done == failing:
                raise RuntimeError("cut off")

        losses = model.fit(**vars(SHOWN), **TRAINING, steps=steps, progress=count, keeper=keeper)
        mine = share_of(TRAINING["batch_size"])
        (folder / f"{mine.start}-{mine.stop}").write_bytes(model.to_bytes())
        return losses, model.to_bytes()


def apart(left: bytes, right: bytes) -> float:
    weights, others = unpack(left)[0], unpack(right)[0]
    return max(float(np.abs(weights[name] - others[name]).max()) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_together_they_learn_what_one_learns(kind: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("alone", "together", "resumed")]
    for folder in folders:
        save_small_pipeline(folder, side=8, seed=0)
    seen: list[int] = []

    def trained(folder: Path, processes: int, failing: int | None = None) -> tuple[list[float], bytes]:
        given = (kind, folder, processes, STEPS, failing)
        return run_in_process(train, *given, advance=seen.append, processes=processes)

    losses, alone = trained(folders[0], 1)
    other_losses, shared = trained(folders[1], 3)
    np.testing.assert_allclose(other_losses, losses, rtol=1e-4)
    assert apart(alone, shared) < 1e-4 < apart(alone, build(kind, folders[0]))
    assert seen == [1] * 2 * STEPS
    # Every process ends with the same weights, to the last digit.
    assert {path.read_bytes() for path in folders[1].glob("*-*")} == {shared}
    assert len(list(folders[1].glob("*-*"))) == 3
    # A training that was cut off goes on, to the same weights.
    with pytest.raises(ProcessFailed, match="cut off"):
        trained(folders[2], 3, failing=4)
    assert trained(folders[2], 3)[1] == shared


def build(kind: str, folder: Path) -> bytes:
    return build_generator(kind, SHOWN, KINDS[kind], seed=1, resources=Resources(weights=lambda _: folder)).to_bytes()


def test_shares_cover_a_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for index in range(3):
        monkeypatch.setattr("royalty.models.generators.together._place", lambda index=index: (index, 3))
        shares.append(share_of(10))
        assert len(Parts([], 10, parts=2).share) in (3, 4)
    assert [place for share in shares for place in share] == list(range(10))


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gpus(8)  # on a processor processes share it
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_gpus(2)
    with pytest.raises(InputError, match=r"got 4, and it sees 2.*CUDA_VISIBLE_DEVICES"):
        check_gpus(4)
    monkeypatch.setattr("royalty.models.generators.together.find_spec", lambda _name: None)
    check_gpus(1)
    with pytest.raises(InputError, match=r"accelerate.*royalty\[gpu\]"):
        check_gpus(2)
