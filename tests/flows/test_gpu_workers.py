"""The number of coalitions that share a GPU: by its memory where there is one, and by nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import royalty
from royalty.flows import gpu_workers
from royalty.flows.gpu_workers import fit_workers
from royalty.flows.starting import started
from royalty.infra import settings as module
from royalty.infra.settings import cores, free_gpu_memory, settings, use_gpu_memory
from royalty.models.generators.budget import training_bytes
from royalty.tasks.config.credit import CreditConfig, SamplingConfig
from royalty.tasks.credit.expected import coalition_bytes, expected

GIB = 2**30


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with two GPUs of 40 GiB and 64 cores."""
    for place in range(2):
        (tmp_path / "gpus" / f"0000:{place}").mkdir(parents=True)
    monkeypatch.delenv("ROYALTY_WORKERS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "GPUS", tmp_path / "gpus")
    monkeypatch.setattr(gpu_workers, "free_gpu_memory", lambda: 40 * GIB)
    monkeypatch.setattr(gpu_workers, "cores", lambda: 64)
    use_gpu_memory(1)
    yield
    use_gpu_memory(1)


def preset(name: str) -> CreditConfig:
    files = {"data": Path("anywhere")} if name in ("cifar20", "celeba-hq") else {}
    return royalty.load_config(preset=name, **files)


def test_small_networks_share_a_gpu_and_large_ones_do_not(two_gpus: None) -> None:
    assert settings().workers == 2
    fit_workers(preset("cifar20"))
    assert (settings().workers, settings().readers) == (2 * 6, cores())  # 36 GiB of 3.5 and 2 each
    fit_workers(preset("celeba-hq"))
    assert settings().workers == 2
    fit_workers(preset("digits"))
    assert settings().workers == 2 * 8


@pytest.mark.parametrize("number", ["3", "1"])
def test_a_number_that_was_set_is_kept(number: str, two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROYALTY_WORKERS", number)
    fit_workers(preset("digits"))
    assert settings().workers == int(number)


def test_nothing_changes_without_a_gpu_a_cluster_or_coalitions(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fit_workers(SamplingConfig())
    assert settings().workers == 2
    monkeypatch.setattr(gpu_workers, "free_gpu_memory", lambda: 0)
    fit_workers(preset("digits"))
    assert settings().workers == 2
    monkeypatch.setattr(gpu_workers, "free_gpu_memory", lambda: pytest.fail("nobody has to ask"))
    monkeypatch.setenv("ROYALTY_RUNNER", "tcp://head:8786")
    settings.cache_clear()
    fit_workers(preset("digits"))
    monkeypatch.delenv("ROYALTY_RUNNER")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings.cache_clear()
    fit_workers(preset("digits"))
    assert settings().workers == cores()


def test_memory_of_a_coalition_is_of_all_that_are_trained_at_once() -> None:
    digits, large, lora = preset("digits"), preset("cifar20"), preset("tiny-lora")
    for config, models in ((digits, 8), (large, 1), (lora, max(1, 64 // lora.coalitions.batch_size))):
        outline, batch_size = expected(config).outline, config.coalitions.batch_size
        assert coalition_bytes(config) == training_bytes(outline, batch_size, models)


@pytest.mark.parametrize(("answer", "free"), [("81000\n 40000\n", 40000 * 2**20), ("", 0), ("[N/A]\n", 0), (None, 0)])
def test_free_memory_is_that_of_the_fullest_gpu(answer: str | None, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(asked: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert asked[0] == "nvidia-smi"
        if answer is None:
            raise FileNotFoundError("nvidia-smi")
        return subprocess.CompletedProcess(asked, 0, answer)

    monkeypatch.setattr(subprocess, "run", run)
    assert free_gpu_memory() == free


def test_a_flow_that_trains_asks_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[object] = []
    monkeypatch.setattr(gpu_workers, "fit_workers", fitted.append)
    monkeypatch.setattr("royalty.infra.processes.workers.preload", lambda *works: fitted.append("preload"))
    monkeypatch.setattr("royalty.infra.servers.session.session", lambda **_: pytest.fail("started"))
    config = preset("digits")
    with (
        pytest.raises(pytest.fail.Exception, match="started"),
        started(None, flow="royalty.flows.credit", works=(), show_progress=False, configs=[config]),
    ):
        pass
    assert fitted == [config, "preload"]
